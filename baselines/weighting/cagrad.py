"""Conflict-averse gradient descent."""

from pydantic import Field
from torch import Tensor
from torchjd.aggregation import CAGradWeighting

from mtcp.api import Diverged, LibraryWeighting, scheme


@scheme("cagrad")
class CAGrad(LibraryWeighting):
    """Conflict-averse gradient descent (Liu et al., NeurIPS 2021, algorithm 1).

    With g the mean gradient: update = k d, where d maximises min_t <g_t, d> within ||d - g|| <= c ||g||.

    Caveat: c = 0 is the plain sum; for c >= 1 it converges to a Pareto stationary point that need not be the sum's.
    Needs cvxpy with its solver Clarabel, which pip brings along.
    """

    moved_by = "always"

    class Parameters(LibraryWeighting.Parameters):
        c: float = Field(0.4, ge=0, description="radius about the mean gradient, relative to its norm")

    def build(self) -> CAGradWeighting:
        return CAGradWeighting(self.options.c)

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        from cvxpy import SolverError

        try:
            return super().weights(gramian, losses, present)
        except (SolverError, TypeError) as error:  # TypeError: torchjd computes with the None of an unsolved problem
            raise Diverged(f"{self.at()}: the solver failed: {error}") from error
