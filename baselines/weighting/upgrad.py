"""Unconflicting projection of gradients."""

import numpy as np
import torch
from torch import Tensor

from mtcp.api import GramianScheme, scheme, solvers, solving


@scheme("upgrad")
class UPGrad(GramianScheme):
    """Unconflicting projection of gradients (Quinton and Rey, arXiv 2406.16232).

    Every g_t is projected onto the cone of vectors that conflict with no gradient; the update is the sum of the
    projections, which descends every task. The projections are exact for gradients of any length; the authors' library
    uses a regulariser of 1e-4, with which a task with a small gradient may be ascended.

    Caveat: without conflict, the update is the plain sum.
    """

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        with solving(self):
            projected = solvers.dual_cone_projections(gramian.numpy(), np.eye(len(gramian)))
        return torch.from_numpy(projected.sum(0))
