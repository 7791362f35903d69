"""Gradient surgery."""

from torchjd.aggregation import PCGradWeighting

from mtcp.api import LibraryWeighting, scheme


@scheme("pcgrad")
class PCGrad(LibraryWeighting):
    """Gradient surgery (Yu et al., NeurIPS 2020, algorithm 1): project away what conflicts.

    Every g_t loses, for the other tasks j in random order, its component along g_j where <g_t, g_j> < 0; the update
    is the sum of what remains. The order comes from the scheme's own random stream.

    Caveat: without conflict it is the plain sum, to the bit of the coefficients.
    """

    of_mean = False

    def build(self) -> PCGradWeighting:
        return PCGradWeighting()
