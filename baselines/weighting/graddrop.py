"""Gradient sign dropout."""

from torchjd.aggregation import GradDrop as Aggregator

from mtcp.api import LibraryAggregator, scheme


@scheme("graddrop")
class GradDrop(LibraryAggregator):
    """Gradient sign dropout (Chen et al., NeurIPS 2020, algorithm 1): each entry keeps one sign.

    For every entry p of the shared parameters: P = (1 + sum_t g_tp / sum_t |g_tp|) / 2 is the purity of the positive
    sign; with probability P only the positive g_tp are summed, otherwise only the negative ones.

    Caveat: the paper drops entries at the representation; here, as in the libraries, at the shared parameters. The
    update is no combination of gradients; the logged coefficients are the nearest one. An entry without any gradient
    gives 0/0 in the purity, and stays 0.
    """

    moved_by = "always"
    signed = True

    def build(self) -> Aggregator:
        return Aggregator()
