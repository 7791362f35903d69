"""Smooth Tchebycheff scalarisation."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import EpochMeans, LossScheme, PluginParameters, SchemeContext, scheme


@scheme("stch")
class STCH(LossScheme):
    """Smooth Tchebycheff scalarisation (Lin et al., ICML 2024): descend a smooth maximum.

    total = k mu log sum_t exp(r_t / mu); the ideal point is 0 and every preference 1. With n_t the mean loss of the
    last warm-up epoch, either r_t = log(l_t / n_t) and the warm-up descends sum_t log l_t (`log_ratio`, the authors'
    code for networks), or r_t = l_t / n_t and the warm-up descends the plain sum (`ratio`, the paper's formula). The
    factor k makes the softmax weights of the r_t sum to k.

    Caveat: tasks are compared by their progress since the warm-up; with a small mu, only the worst task learns.
    """

    unit: Tensor

    class Parameters(PluginParameters):
        compared: Literal["log_ratio", "ratio"] = Field("log_ratio", description="what the maximum is taken of")
        mu: float = Field(1.0, gt=0, description="smoothness; 0 would be the maximum itself")
        warmup_epochs: int = Field(5, ge=1, description="epochs before, the last of which sets the tasks' units")

    def __init__(self, context: SchemeContext, parameters: "STCH.Parameters") -> None:
        super().__init__(context, parameters)
        self.means = EpochMeans(len(context.tasks))
        self.register_buffer("unit", torch.full((len(context.tasks),), torch.nan, dtype=torch.float64))
        self.idle_epochs = parameters.warmup_epochs

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        logarithmic, mu = self.options.compared == "log_ratio", self.options.mu
        if logarithmic:
            self.positive(losses, present)
        self.means.add(losses, present)
        unit = self.unit[present].to(losses)
        if self.epochs < self.options.warmup_epochs or unit.isnan().any():
            return (losses.log() if logarithmic else losses).sum()
        ratios = losses / unit
        return len(losses) * mu * torch.logsumexp((ratios.log() if logarithmic else ratios) / mu, 0)

    def end_epoch(self) -> None:
        """Store every task's mean loss in the last warm-up epoch, or in the first later epoch where it was present."""
        means = self.means.close()
        if self.epochs + 1 >= self.options.warmup_epochs:
            self.unit = torch.where(self.unit.isnan(), means, self.unit)
