"""Running balance: an example of a weighting scheme as a plug-in."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import LossScheme, PluginParameters, SchemeContext, scheme


@scheme("running_balance")
class RunningBalance(LossScheme):
    """Running balance (an example): every task contributes equally, as measured by a running mean of its loss.

    m_t <- momentum m_t + (1 - momentum) l_t, from the first loss on; w_t proportional to 1 / m_t, scaled to sum to the
    number of tasks in the step; total = sum_t w_t l_t.

    Caveat: needs positive losses; the weight of a solved task keeps growing.
    """

    mean: Tensor

    class Parameters(PluginParameters):
        momentum: float = Field(0.9, ge=0, lt=1, description="share of the past in the running mean")

    def __init__(self, context: SchemeContext, parameters: "RunningBalance.Parameters") -> None:
        super().__init__(context, parameters)
        self.register_buffer("mean", torch.full((len(context.tasks),), torch.nan))

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        self.positive(losses, present)
        now, before = losses.detach(), self.mean[present]
        mean = torch.where(before.isnan(), now, self.options.momentum * before + (1 - self.options.momentum) * now)
        self.mean[present] = mean
        weights = 1 / mean
        return (len(weights) * weights / weights.sum() * losses).sum()
