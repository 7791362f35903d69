"""Robust multi-task learning with excess risks."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import JacobianScheme, SchemeContext, scheme


@scheme("excess_mtl")
class ExcessMTL(JacobianScheme):
    """Excess risks (He et al., ICML 2024, equations 6, 7 and 9): tasks farthest from their optimum weigh most.

    The excess risk of task t is estimated as e_t = sum_p g_tp^2 / sqrt(S_tp), with S the sum of squared gradients so
    far; e_t is then divided by its first value. w <- softmax(log w + step e), starting from 1/T; total = sum_t k w_t
    l_t, with the weights of the k present tasks scaled to sum to k.

    Caveat: S needs T times the shared parameters in memory and in the state; the first step with a
    gradient sets the unit of e_t.
    """

    moved_by = "always"

    squares: Tensor
    first: Tensor
    simplex: Tensor

    class Parameters(JacobianScheme.Parameters):
        step: float = Field(0.01, gt=0, description="step size of the weights")

    def __init__(self, context: SchemeContext, parameters: "ExcessMTL.Parameters") -> None:
        super().__init__(context, parameters)
        tasks, size = len(context.tasks), self.shared_size
        self.register_buffer("squares", torch.zeros(tasks, size))
        self.register_buffer("first", torch.full((tasks,), torch.nan))
        self.register_buffer("simplex", torch.full((tasks,), 1 / tasks))

    def combine(self, jacobian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        for row, task in zip(jacobian, present, strict=True):
            self.squares[task].addcmul_(row, row)
        risks = torch.stack(
            [(row**2 / (self.squares[task] + 1e-7).sqrt()).sum() for row, task in zip(jacobian, present, strict=True)]
        )
        first = self.first[present]
        first = torch.where(first.isnan() & (risks > 0), risks, first)  # a zero is no unit
        self.first[present] = first
        kept = self.simplex[present]
        logits = kept.log() + self.options.step * torch.where(first.isnan(), 0.0, risks / (first + 1e-7))
        # The present tasks share what they held, so that an absent task's weight stays as it is.
        self.simplex[present] = kept.sum() * torch.softmax(logits, 0)
        return self.other_weights(losses, present) @ jacobian

    def other_weights(self, losses: Tensor, present: Tensor) -> Tensor:
        weights = self.simplex[present]
        return len(weights) * weights / weights.sum()
