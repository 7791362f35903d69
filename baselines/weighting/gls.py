"""Geometric loss strategy."""

from torch import Tensor

from mtcp.api import LossScheme, scheme


@scheme("gls")
class GLS(LossScheme):
    """Geometric loss strategy (Chennupati et al., CVPR workshops 2019).

    total = k (prod_t l_t)^(1/k) for the k present tasks. The effective weight of task t is the geometric mean divided
    by l_t, so every task contributes equally whatever its unit. The factor k makes the weights of equal losses 1.

    Caveat: needs positive losses; a loss near 0 stops the training of all other tasks.
    """

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        self.positive(losses, present)
        return len(losses) * losses.log().mean().exp()
