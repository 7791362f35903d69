"""Smooth Tchebycheff scalarisation."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import EpochMeans, LossScheme, PluginParameters, SchemeContext, scheme


@scheme("stch")
class STCH(LossScheme):
    """Smooth Tchebycheff scalarisation (Lin et al., ICML 2024): descend a smooth maximum.

    total = k mu log sum_t exp(l_t / (n_t mu)) with n_t the mean loss of the first epoch, in which all weights are 1;
    the ideal point is 0 and every preference 1. The factor k keeps the sum of the softmax at k.

    Caveat: tasks are compared by how far each has come from its first epoch; with a small mu only the worst learns.
    The authors' multi-task code, as LibMTL has it, puts log(l_t / n_t) in the place of l_t / n_t.
    """

    equal_epochs = 1

    class Parameters(PluginParameters):
        mu: float = Field(0.1, gt=0, description="smoothness; 0 would be the maximum itself")

    def __init__(self, context: SchemeContext, parameters: "STCH.Parameters") -> None:
        super().__init__(context, parameters)
        self.means = EpochMeans(len(context.tasks))
        self.register_buffer("first", torch.full((len(context.tasks),), torch.nan, dtype=torch.float64))

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        self.means.add(losses, present)
        first = self.first[present].to(losses)
        if first.isnan().any():
            return losses.sum()
        return len(losses) * self.options.mu * torch.logsumexp(losses / (first * self.options.mu), 0)

    def end_epoch(self) -> None:
        """Keep the first mean of every task."""
        self.first = torch.where(self.first.isnan(), self.means.close(), self.first)
        super().end_epoch()
