"""Scale-invariant loss weighting."""

from torch import Tensor

from mtcp.api import LossScheme, scheme


@scheme("scale_invariant")
class ScaleInvariant(LossScheme):
    """Sum of logarithms: multiplying a loss by a constant does not change the gradient.

    total = sum_t log l_t, with the effective weights 1 / l_t: the weights at which IMTL-L and, up to a factor 1/2,
    uncertainty weighting have their optimum, without learning them (Liu et al., ICLR 2021, for IMTL-L).

    Caveat: needs positive losses; weights grow without bound as a loss approaches 0.
    """

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        self.positive(losses, present)
        return losses.log().sum()
