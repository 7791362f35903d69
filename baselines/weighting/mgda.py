"""Multiple gradient descent."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import GramianScheme, scheme, solvers, solving


@scheme("mgda")
class MGDA(GramianScheme):
    """Multiple gradient descent (Desideri, 2012; Sener and Koltun, NeurIPS 2018, algorithm 2).

    update = k sum_t c_t g_t with the c on the simplex that minimises ||sum_t c_t g_t||: the shortest vector in the
    gradients' convex hull, which descends every task or is 0 at a Pareto stationary point. The quadratic program is
    solved up to rounding; the paper takes Frank-Wolfe steps, the authors' code steps of projected gradient descent from
    the best pair of tasks until c changes by less than 1e-5, and no share of a pair is below 0.001 there. As in that
    code, `normalisation` divides the gradients from which c is computed by their length (`l2`), their loss (`loss`) or
    the product of both (`loss+`).

    Caveat: the task with the smallest gradient gets the largest coefficient, whether or not that is useful.
    """

    moved_by = "always"

    class Parameters(GramianScheme.Parameters):
        normalisation: Literal["none", "l2", "loss", "loss+"] = Field(
            "none", description="what the gradients that the coefficients are computed from are divided by"
        )

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        divisors = torch.ones(len(gramian), dtype=torch.float64)
        if self.options.normalisation.startswith("loss"):
            self.positive(losses, present)
            divisors *= losses.double().cpu()
        if self.options.normalisation in ("l2", "loss+"):
            divisors *= gramian.diagonal().sqrt()
        gramian = gramian / torch.outer(divisors, divisors).clamp(min=1e-300)
        with solving(self):
            return len(gramian) * torch.from_numpy(solvers.shortest_in_hull(gramian.numpy()))
