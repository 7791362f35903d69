"""Robust multi-task learning with excess risks."""

import numpy as np
import torch
from pydantic import Field
from scipy.special import softmax
from torch import Tensor

from mtcp.api import GradientScheme, SchemeContext, SimplexWeights, scheme


@scheme("excess_mtl")
class ExcessMTL(GradientScheme):
    """Excess risks (He et al., ICML 2024, equations 6, 7 and 9): tasks farthest from their optimum weigh most.

    The excess risk of task t is estimated as e_t = sum_p g_tp^2 / sqrt(S_tp + 1e-7), with S the sum of squared
    gradients so far; e_t is then divided by its first value. w <- softmax(log w + step e), starting from 1/T;
    total = sum_t k w_t l_t, with the weights of the k present tasks scaled to sum to k.

    Caveat: S needs T times the shared parameters in memory and in the state. As in the authors' code, the first step
    with a gradient sets the unit of e_t; the paper's appendix collects it over three epochs (torchjd's documentation).
    The 1e-7, which is that code's too, rules while entries of S are smaller, as in large networks: e_t is then
    proportional to ||g_t||^2.
    """

    moved_by = "always"

    squares: Tensor
    first: Tensor

    class Parameters(GradientScheme.Parameters):
        step: float = Field(0.01, gt=0, description="step size of the weights")

    def __init__(self, context: SchemeContext, parameters: "ExcessMTL.Parameters") -> None:
        super().__init__(context, parameters)
        tasks, size = len(context.tasks), self.shared_size
        self.register_buffer("squares", torch.zeros(tasks, size))
        self.register_buffer("first", torch.full((tasks,), torch.nan, dtype=torch.float64))
        self.simplex = SimplexWeights(tasks)

    def combined(self, jacobian: Tensor, gramian: Tensor, losses: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return k sum_t w_t g_t and k w."""
        risks = torch.stack([self._risk(row, task) for row, task in zip(jacobian, present, strict=True)]).double()
        first = self.first[present]
        first = torch.where(first.isnan() & (risks > 0), risks, first)  # a zero is no unit
        self.first[present] = first
        gains = self.options.step * torch.where(first.isnan(), 0.0, risks / first).cpu().numpy()
        with np.errstate(divide="ignore"):  # the weight of a task that is far behind may have become 0
            logits = np.log(self.simplex.of(present)) + gains
        shares = len(present) * self.simplex.keep(softmax(logits), present)
        return shares.to(jacobian) @ jacobian, shares

    def other_weights(self, losses: Tensor, present: Tensor) -> Tensor:
        return len(present) * torch.from_numpy(self.simplex.of(present)).to(losses)

    def _risk(self, row: Tensor, task: Tensor) -> Tensor:
        self.squares[task].addcmul_(row, row)
        return (row**2 / (self.squares[task] + 1e-7).sqrt()).sum()
