"""Impartial multi-task learning, gradient balance."""

from torchjd.aggregation import IMTLGWeighting

from mtcp.api import LibraryWeighting, scheme


@scheme("imtl_g")
class IMTLG(LibraryWeighting):
    """Impartial multi-task learning, gradient balance (Liu et al., ICLR 2021).

    update = k sum_t c_t g_t, sum_t c_t = 1, whose projections onto all unit gradients g_t / ||g_t|| are equal.

    Caveat: nothing bounds the coefficients: with three and more tasks some are negative at times, and for nearly
    parallel gradients of unlike norms they run away.
    """

    moved_by = "always"
    signed = True

    def build(self) -> IMTLGWeighting:
        return IMTLGWeighting()
