"""Projection of the mean gradient."""

from torchjd.aggregation import DualProjWeighting

from mtcp.api import LibraryWeighting, scheme


@scheme("dualproj")
class DualProj(LibraryWeighting):
    """Projection of the sum onto the dual cone (Lopez-Paz and Ranzato, NeurIPS 2017, equation 11; GEM).

    update = the vector nearest to sum_t g_t among those that conflict with no gradient.

    Caveat: without conflict it is the plain sum. Needs quadprog (GPL-2 or later), the extra `mtcp[gpl]`.
    """

    def build(self) -> DualProjWeighting:
        return DualProjWeighting()
