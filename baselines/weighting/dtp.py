"""Dynamic task prioritisation."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import LossScheme, PluginParameters, SchemeContext, scheme


@scheme("dtp")
class DTP(LossScheme):
    """Dynamic task prioritisation (Guo et al., ECCV 2018): hard tasks first.

    With a performance indicator kappa_t in (0, 1] and its running mean K_t <- alpha kappa_t + (1 - alpha) K_t:
    w_t = -(1 - K_t)^gamma log K_t.

    Caveat: the paper uses an accuracy as indicator; a scheme sees only losses, so kappa_t = exp(-l_t) is used instead,
    which for a cross-entropy is the geometric mean of the true class's probability. K moves in every micro-batch.
    """

    indicator: Tensor

    class Parameters(PluginParameters):
        alpha: float = Field(0.1, gt=0, le=1, description="share of the newest indicator in the running mean")
        gamma: float = Field(1.0, ge=0, description="how strongly easy tasks are played down")

    def __init__(self, context: SchemeContext, parameters: "DTP.Parameters") -> None:
        super().__init__(context, parameters)
        self.register_buffer("indicator", torch.full((len(context.tasks),), torch.nan, dtype=torch.float64))

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        newest, before = torch.exp(-losses.detach().double()), self.indicator[present]
        before = torch.where(before.isnan(), newest, before)
        mean = self.options.alpha * newest + (1 - self.options.alpha) * before
        self.indicator[present] = mean
        mean = mean.clamp(1e-300, 1.0)
        weights = -((1 - mean) ** self.options.gamma) * mean.log()
        return (weights.to(losses) * losses).sum()
