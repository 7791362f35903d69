"""Multiple gradient descent."""

from torchjd.aggregation import MGDAWeighting

from mtcp.api import LibraryWeighting, scheme


@scheme("mgda")
class MGDA(LibraryWeighting):
    """Multiple gradient descent (Desideri, 2012; Sener and Koltun, NeurIPS 2018, algorithm 2).

    update = k sum_t c_t g_t with c on the simplex and ||sum_t c_t g_t|| least: the shortest vector of the gradients'
    convex hull, which descends every task or is 0 at a Pareto stationary point.

    Caveat: the task with the smallest gradient gets the largest coefficient, whatever its use.
    """

    moved_by = "always"

    def build(self) -> MGDAWeighting:
        return MGDAWeighting()
