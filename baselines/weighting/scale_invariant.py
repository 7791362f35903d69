"""Scale-invariant loss weighting."""

from torch import Tensor

from mtcp.api import LossScheme, scheme


@scheme("scale_invariant")
class ScaleInvariant(LossScheme):
    """Sum of logarithms: multiplying a loss by a constant changes no gradient.

    total = sum_t log l_t, effective weight 1 / l_t; the optimum over w of IMTL-L and, up to a factor 1/2, of
    uncertainty weighting, reached at once (Liu et al., ICLR 2021, for IMTL-L).

    Caveat: needs positive losses; weights grow without bound as a loss nears 0.
    """

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        self.positive(losses, present)
        return losses.log().sum()
