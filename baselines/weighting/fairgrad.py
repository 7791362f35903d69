"""Fair resource allocation."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import GramianScheme, scheme, solvers, solving


@scheme("fairgrad")
class FairGrad(GramianScheme):
    """Fair resource allocation (Ban and Ji, ICML 2024, equation 4).

    update = sum_t c_t g_t with c > 0 and G c = c^(-1/alpha), entry by entry: alpha-fair gains. alpha = 1 is Nash
    bargaining, alpha to infinity is max-min fairness.

    Caveat: where there is no solution, because the gradients cancel each other out or one is zero, the run ends as
    diverged; so it does where an extreme alpha (below 0.2, above 50) meets very unequal lengths. The authors' code uses
    the result of a least-squares routine, converged or not, multiplies the update by k and clips it to norm 1. Scaling
    all gradients by s scales the update by s to the power (1 - alpha) / (1 + alpha): short gradients make a long update
    for alpha > 1.
    """

    moved_by = "always"

    class Parameters(GramianScheme.Parameters):
        alpha: float = Field(2.0, gt=0, description="kind of fairness: 1 proportional, 2 least potential delay")

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        with solving(self):
            return torch.from_numpy(solvers.fair_shares(gramian.numpy(), self.options.alpha))
