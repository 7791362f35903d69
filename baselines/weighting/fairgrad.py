"""Fair resource allocation."""

import torch
from pydantic import Field
from torch import Tensor
from torchjd.aggregation import FairGradWeighting

from mtcp.api import Diverged, LibraryWeighting, scheme


@scheme("fairgrad")
class FairGrad(LibraryWeighting):
    """Fair resource allocation (Ban and Ji, ICML 2024, equation 4).

    update = sum_t c_t g_t with c > 0 and G c = c^(-1/alpha), entry by entry: alpha-fair gains. alpha 1 is Nash
    bargaining, alpha to infinity the largest least gain.

    Caveat: solved by least squares; a residual above 1e-2 ends the run as diverged.
    """

    moved_by = "always"
    of_mean = False

    class Parameters(LibraryWeighting.Parameters):
        alpha: float = Field(2.0, gt=0, description="kind of fairness: 1 proportional, 2 least potential delay")

    def build(self) -> FairGradWeighting:
        return FairGradWeighting(self.options.alpha)

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        weights = super().weights(gramian, losses, present)
        # For G = s G', c = s^(-alpha / (1 + alpha)) c' solves the problem of G where c' solves that of G'.
        weights = weights * gramian.diagonal().mean() ** (-self.options.alpha / (1 + self.options.alpha))
        residual = (gramian @ weights * weights ** (1 / self.options.alpha) - 1).abs().max()
        if not torch.isfinite(residual) or residual > 1e-2:
            raise Diverged(f"{self.at()}: the solver failed: relative residual {residual:.2g}")
        return weights
