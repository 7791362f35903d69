"""Bargaining between tasks."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import GramianScheme, scheme, solvers, solving


@scheme("nash_mtl")
class NashMTL(GramianScheme):
    """Nash bargaining (Navon et al., ICML 2022, claim 3.1): the update is the tasks' bargaining solution.

    update = sum_t a_t g_t with G a = 1 / a, then shortened to `max_norm`. It maximises sum_t log <g_t, update> for
    updates of bounded length, so scaling one loss does not change it.

    Caveat: the authors' code, and libraries that follow it, solve a sequence of approximations with ECOS; where that
    solver fails or is missing, they silently keep the last weights, at first equal ones. Here the underlying convex
    problem is solved by Newton's method, and where it has no solution the run ends as diverged. That code also divides
    G by its Frobenius norm, which makes the norm before shortening sqrt(k ||G||): updates shrink with the gradients
    once these are short. Here the update's norm is always `max_norm`, or sqrt(k) where that is less.
    """

    moved_by = "always"

    class Parameters(GramianScheme.Parameters):
        max_norm: float = Field(1.0, gt=0, description="the update's norm is at most this; sqrt(k) before")

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        with solving(self):
            weights = torch.from_numpy(solvers.fair_shares(gramian.numpy()))
        # At the solution the squared norm a^T G a is k.
        return weights * min(1.0, self.options.max_norm / len(weights) ** 0.5)
