"""Analytic uncertainty weighting with a softmax."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import LossScheme, PluginParameters, scheme


@scheme("uw_so")
class UWSO(LossScheme):
    """Soft optimal uncertainty weighting (Kirchdorfer et al., GCPR 2024).

    Uncertainty weighting has the analytic optimum w_t = 1 / l_t; a softmax with temperature bounds it:
    w = k softmax((1 / l_1, ..., 1 / l_k) / temperature), constant in the backward pass.

    Caveat: needs positive losses; the paper tunes the temperature per data set, and an untuned one means little.
    """

    class Parameters(PluginParameters):
        temperature: float = Field(5.0, gt=0, description="larger is more equal")

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        self.positive(losses, present)
        weights = torch.softmax(1 / (losses.detach() * self.options.temperature), 0)
        return len(losses) * (weights * losses).sum()
