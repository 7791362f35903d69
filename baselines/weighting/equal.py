"""Equal weights."""

from torch import Tensor

from mtcp.api import LossScheme, scheme


@scheme("equal")
class Equal(LossScheme):
    """Equal weights: the plain sum of the losses, the baseline of every other scheme.

    total = sum_t l_t.

    Caveat: "equal" depends on the losses' units; a loss ten times as large has ten times the influence.
    """

    moved_by = "nothing"

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        return losses.sum()
