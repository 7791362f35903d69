"""One-to-one matching of boundary pixels within a distance: how many can be matched at most.

BSDS's benchmark (Martin, Fowlkes and Malik, PAMI 2004) looks for a matching of least cost whose outliers cost
more than any match; what it counts is, up to that solver's approximation, the largest matching. Here the
largest matching is exact: a maximum flow with unit capacities (Dinic) over the graph of pairs within the distance.
"""

from typing import Final

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

#: Pairs (index of a predicted pixel, index of a true pixel), sorted by the first.
Pairs = tuple[np.ndarray, np.ndarray]


def pairs_within(predicted: np.ndarray, truth: np.ndarray, distance: float) -> Pairs:
    """Return all pairs of pixels of two boolean (H, W) maps at most `distance` apart (Euclidean, in pixels).

    Pixels are numbered in row-major order within their own map.
    """
    reach = int(distance)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    # The slack lets a tolerance that is a whole number of pixels include it in spite of rounding.
    disc = rows**2 + columns**2 <= distance**2 * (1 + 1e-9)
    padded = np.pad(truth, reach)
    number = np.full(padded.shape, -1, dtype=np.int32)
    number[padded] = np.arange(padded.sum(), dtype=np.int32)
    width = padded.shape[1]
    row, column = np.nonzero(predicted)
    steps = rows[disc] * width + columns[disc]
    near = number.ravel()[((row + reach) * width + column + reach)[:, None] + steps]
    first, place = np.nonzero(near >= 0)
    return first, near[first, place]


def matched(pairs: Pairs, cuts: np.ndarray, truths: int) -> np.ndarray:
    """Return which predicted pixels a largest one-to-one matching uses, for every cut of a prediction.

    `cuts` (pixels, T), boolean: which pixels belong to which cut; `truths`: the number of true pixels. The result
    has the shape of `cuts`; its column sums are the sizes of the largest matchings. From the last cut to the first,
    each starts from the matching of the one before it, because cuts at neighbouring thresholds share most
    pixels; small cuts are solved together, because a call costs more than a small graph.
    """
    first, second = pairs
    result = np.zeros_like(cuts)
    by_cut = np.ascontiguousarray(cuts.T)
    sizes = by_cut @ np.bincount(first, minlength=len(cuts))
    group = (sizes.cumsum() - sizes) // _GROUP
    mate = np.full(len(cuts), _FREE)
    for number in np.unique(group)[::-1]:
        part = np.flatnonzero(group == number)
        mates = _augmented(first, second, by_cut[part], mate, truths)
        result[:, part] = (mates != _FREE).T
        mate = mates[0]
    return result


_FREE: Final = -1
_GROUP: Final = 20_000


def _augmented(first: np.ndarray, second: np.ndarray, active: np.ndarray, mate: np.ndarray, truths: int) -> np.ndarray:
    """Return (cuts, pixels): the true pixel that each predicted one is matched with, or `_FREE`, in a largest matching.

    `active` (cuts, pixels) says which predicted pixels belong to which cut; `mate` (pixels,) is a matching to start
    from. A flow of unit capacity through the residual graph: a pair that is not matched leads from left to right,
    a matched one back, the source to free pixels on the left, and free ones on the right to the sink.
    """
    pixels = active.shape[1]
    mates = np.where(active, mate, _FREE)
    lefts, rights = mates.size, len(active) * truths
    source, sink = lefts + rights, lefts + rights + 1
    cut, pair = np.nonzero(active[:, first])
    left, right = cut * pixels + first[pair], cut * truths + second[pair]
    open_pairs = mates.ravel()[left] != second[pair]
    left, right = left[open_pairs], right[open_pairs]
    free = np.flatnonzero(active & (mates == _FREE))
    taken = np.flatnonzero(mates != _FREE)
    behind = np.full(rights, sink)
    behind[taken // pixels * truths + mates.ravel()[taken]] = taken
    head = np.concatenate([lefts + right, behind, free]).astype(np.int32)
    ends = len(left) + np.arange(1, rights + 1)
    start = np.concatenate([[0], np.bincount(left, minlength=lefts).cumsum(), ends, [len(head)] * 2]).astype(np.int32)
    graph = csr_array((np.ones(len(head), dtype=np.int32), head, start), shape=(sink + 1, sink + 1))
    flow = maximum_flow(graph, source, sink, method="dinic").flow
    # What flows out of a pixel on the left is its mate from now on; what flows back only undoes.
    used = np.flatnonzero(flow.data[: flow.indptr[lefts]] > 0)
    row = np.searchsorted(flow.indptr, used, side="right") - 1
    mates.ravel()[row] = (flow.indices[used] - lefts) % truths
    return mates
