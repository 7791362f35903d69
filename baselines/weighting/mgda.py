"""Multiple gradient descent."""

import torch
from torch import Tensor

from mtcp.api import GramianScheme, scheme, solvers, solving


@scheme("mgda")
class MGDA(GramianScheme):
    """Multiple gradient descent (Desideri, 2012; Sener and Koltun, NeurIPS 2018, algorithm 2).

    update = k sum_t c_t g_t with c on the simplex and ||sum_t c_t g_t|| least: the shortest vector of the gradients'
    convex hull, which descends every task or is 0 at a Pareto stationary point. The quadratic program is solved to
    rounding, where the authors' code takes up to 250 Frank-Wolfe steps.

    Caveat: the task with the smallest gradient gets the largest coefficient, whatever its use.
    """

    moved_by = "always"

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        with solving(self):
            return len(gramian) * torch.from_numpy(solvers.shortest_in_hull(gramian.numpy()))
