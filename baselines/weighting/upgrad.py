"""Unconflicting projection of gradients."""

from torchjd.aggregation import UPGradWeighting

from mtcp.api import LibraryWeighting, scheme


@scheme("upgrad")
class UPGrad(LibraryWeighting):
    """Unconflicting projection of gradients (Quinton and Rey, arXiv 2406.16232).

    Every g_t is projected onto the cone of vectors that conflict with no gradient; the update is the sum of the
    projections, which descends every task.

    Caveat: without conflict it is the plain sum. Needs quadprog (GPL-2 or later), the extra `mtcp[gpl]`.
    """

    def build(self) -> UPGradWeighting:
        return UPGradWeighting()
