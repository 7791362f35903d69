"""Geometric loss strategy."""

from torch import Tensor

from mtcp.api import LossScheme, scheme


@scheme("gls")
class GLS(LossScheme):
    """Geometric loss strategy (Chennupati et al., CVPR workshops 2019).

    total = k (prod_t l_t)^(1/k) for the k present tasks: effective weight of task t the geometric mean over l_t, so
    that every task contributes alike whatever its unit. The factor k makes the weights of equal losses 1.

    Caveat: needs positive losses; a loss that nears 0 stops all the others.
    """

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        self.positive(losses, present)
        return len(losses) * losses.log().mean().exp()
