"""Independent component alignment."""

from torchjd.aggregation import AlignedMTLWeighting

from mtcp.api import LibraryWeighting, scheme


@scheme("aligned_mtl")
class AlignedMTL(LibraryWeighting):
    """Independent component alignment (Senushkin et al., CVPR 2023).

    The gradients' matrix is replaced by the nearest one with orthogonal rows of equal length, its smallest singular
    value times that of an isometry; the update is the sum of its rows: condition number 1, no conflict, no dominance.

    Caveat: with nearly dependent gradients the smallest singular value, and with it the update, becomes small. A task
    whose gradient is long and close to the others' gets a negative coefficient, and is descended all the same.
    """

    moved_by = "always"
    signed = True

    def build(self) -> AlignedMTLWeighting:
        return AlignedMTLWeighting()
