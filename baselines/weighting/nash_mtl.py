"""Bargaining between tasks."""

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from mtcp.api import GramianScheme, normalised, scheme, solving


def nash_weights(gramian: NDArray[np.float64], iterations: int = 100) -> NDArray[np.float64]:
    """Return a > 0 with G a = 1 / a, entry by entry, for a positive semi-definite (k, k) Gramian G.

    It is the minimiser of the strictly convex a^T G a / 2 - sum_t log a_t: damped Newton steps on it, from
    a_t = 1 / sqrt(sum_j |G_tj|). Raises `ValueError` where there is none (gradients that cancel each other out, as
    the problem is then unbounded) or the iterations do not reach a relative residual of 1e-6.
    """
    weights = 1 / np.sqrt(np.abs(gramian).sum(1))
    for _ in range(iterations):
        residual = weights * (gramian @ weights) - 1
        if np.abs(residual).max() < 1e-6:
            return weights
        # The Newton step relative to a, whose Hessian is G + diag(1 / a^2).
        hessian = weights[:, None] * gramian * weights + np.eye(len(weights))
        step = np.linalg.solve(hessian, -residual)
        # Self-concordance: shortened by 1 / (1 + its size) the step keeps a positive and the objective falling.
        size = np.sqrt(step @ hessian @ step)
        weights = weights * (1 + step / (1 + size))
    raise ValueError(f"no Nash bargaining solution within {iterations} Newton steps")


@scheme("nash_mtl")
class NashMTL(GramianScheme):
    """Nash bargaining (Navon et al., ICML 2022, claim 3.1): the update that no task would bargain away.

    update = sum_t a_t g_t with G a = 1 / a; then shortened to `max_norm`. Every task gains alike in log <g_t, update>,
    and scaling one loss changes nothing.

    Caveat: the authors' code, and libraries that follow it, solve a sequence of approximations with ECOS and keep the
    last weights, at first equal ones, where that solver fails or is missing, without a word. Here the convex problem
    behind it is solved by Newton's method, and where it has no solution the run ends as diverged.
    """

    moved_by = "always"

    class Parameters(GramianScheme.Parameters):
        max_norm: float = Field(1.0, gt=0, description="the update's norm is at most this; sqrt(k) before")

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        scale = gramian.diagonal().mean().sqrt()
        with solving(self):
            weights = torch.from_numpy(nash_weights(normalised(gramian).numpy())) / scale
        # At the solution the squared norm a^T G a is k.
        return weights * min(1.0, self.options.max_norm / len(weights) ** 0.5)
