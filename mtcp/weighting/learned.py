"""Weights learned as parameters: the common part of uncertainty weighting, IMTL-L and IMTL."""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mtcp.core.plugins import PluginParameters
from mtcp.weighting.base import EpochMeans, LossScheme, Scheme, SchemeContext


class LogWeights(Scheme):
    """Learned a_t = log w_t, from 0, that minimise exp(a_t) l_t - b a_t: the minimum is w_t = b / l_t; `balance` is b.

    A subclass adds the losses to `means`. The flag `weights_far_from_optimum` is set while a weight is a factor of 2 or
    more away from the minimum for the last epoch's mean losses.
    """

    balance: ClassVar[float] = 1.0

    optimum: Tensor

    def __init__(self, context: SchemeContext, parameters: PluginParameters) -> None:
        super().__init__(context, parameters)
        tasks = len(context.tasks)
        self.means = EpochMeans(tasks)
        self.log_weight = nn.Parameter(torch.zeros(tasks))
        self.register_buffer("optimum", torch.full((tasks,), torch.nan))

    def end_epoch(self) -> None:
        """Record the optimum of the tasks that were present with a positive mean loss."""
        optimum = (self.balance / self.means.close()).log().to(self.optimum)
        self.optimum = torch.where(optimum.isfinite(), optimum, self.optimum)

    def far_from_optimum(self) -> bool:
        distance = (self.log_weight.detach() - self.optimum).abs().nan_to_num(nan=0.0)
        return bool((distance > math.log(2)).any())


class LearnedWeights(LogWeights, LossScheme):
    """total = sum_t exp(a_t) l_t - b a_t with a_t = log w_t learned, from 0; at its minimum over a, w_t = b / l_t.

    `balance` is b. With `solve: each_epoch`, a is not learned but set to that minimum for the last epoch's mean losses.
    The flag `weights_far_from_optimum` is set while a weight is a factor of 2 or more away from the minimum.
    """

    class Parameters(PluginParameters):
        rate: float = Field(0.025, gt=0, description="learning rate of the log weights, by Adam")
        solve: Literal["gradient", "each_epoch"] = Field(
            "gradient", description="learn the weights, or set them to their optimum for the last epoch's mean losses"
        )

    def __init__(self, context: SchemeContext, parameters: "LearnedWeights.Parameters") -> None:
        super().__init__(context, parameters)
        if parameters.solve == "each_epoch":
            self.log_weight.requires_grad_(False)
            self.idle_epochs = 1

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        self.means.add(losses, present)
        own = self.log_weight[present]
        return (own.exp() * losses - self.balance * own).sum()

    def end_epoch(self) -> None:
        """Record the optimum and, with `solve: each_epoch`, set the weights to it."""
        super().end_epoch()
        if self.options.solve == "each_epoch":
            self.log_weight.data = torch.where(self.optimum.isfinite(), self.optimum, self.log_weight.data)
