"""Conflict-free gradients."""

from torchjd.aggregation import ConFIG as Aggregator

from mtcp.api import LibraryAggregator, scheme


@scheme("config")
class ConFIG(LibraryAggregator):
    """ConFIG, conflict-free update (Liu, Chu and Thuerey, ICLR 2025, equation 2).

    With u the unit vector of pinv(unit gradients) 1, which has the same positive cosine with every gradient:
    update = (sum_t <g_t, u>) u.

    Caveat: where unit gradients are nearly dependent the direction is ill-conditioned.
    """

    moved_by = "always"
    signed = True

    def build(self) -> Aggregator:
        return Aggregator()
