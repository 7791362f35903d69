"""Conflict-averse gradient descent."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import GramianScheme, scheme, solvers, solving


@scheme("cagrad")
class CAGrad(GramianScheme):
    """Conflict-averse gradient descent (Liu et al., NeurIPS 2021, algorithm 1).

    With g the mean gradient: update = k d, where d maximises min_t <g_t, d> within ||d - g|| <= c ||g||; divided by
    1 + c^2 with `rescale`, as in the authors' code.

    Caveat: c = 0 is the plain sum; for c >= 1 it converges to a Pareto stationary point that need not be a stationary
    point of the sum. A task with a small gradient gets a large coefficient, because gains are not normalised.
    """

    moved_by = "always"

    class Parameters(GramianScheme.Parameters):
        c: float = Field(0.4, ge=0, description="radius about the mean gradient, relative to its norm")
        rescale: bool = Field(True, description="divide the update by 1 + c^2, as the authors' code does")

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        c = self.options.c
        with solving(self):
            coefficients = torch.from_numpy(solvers.conflict_averse(gramian.numpy(), c))
        return len(gramian) * coefficients / (1 + c**2 if self.options.rescale else 1)
