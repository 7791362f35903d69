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
    has the shape of `cuts`; its column sums are the sizes of the largest matchings. Cuts are solved together as
    separate parts of one graph until that holds `_GROUP` pairs, because a call costs more than a small graph.
    """
    first, second = pairs
    result = np.zeros_like(cuts)
    by_cut = np.ascontiguousarray(cuts.T)
    sizes = by_cut @ np.bincount(first, minlength=len(cuts))
    group = (sizes.cumsum() - sizes) // _GROUP
    for part in (np.flatnonzero(group == number) for number in np.unique(group)):
        cut, pair = np.nonzero(by_cut[part][:, first])
        if len(pair):
            hits = _largest_matching(cut * len(cuts) + first[pair], cut * truths + second[pair])
            result[hits % len(cuts), part[hits // len(cuts)]] = True
    return result


_GROUP: Final = 20_000


def _largest_matching(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the labels on the left that a largest matching uses, of the bipartite graph with edges (left, right).

    `left` is sorted.
    """
    left_labels, left = _numbered(left)
    right_labels, right = _numbered(right)
    lefts, rights, edges = len(left_labels), len(right_labels), len(left)
    source, sink = lefts + rights, lefts + rights + 1
    # Rows: left nodes to their neighbours, right nodes to the sink, the source to all left nodes, the sink.
    start = np.concatenate(
        [
            [0],
            np.bincount(left).cumsum(),
            edges + np.arange(1, rights + 1),
            [edges + rights + lefts] * 2,
        ]
    )
    head = np.concatenate([lefts + right, np.full(rights, sink), np.arange(lefts)])
    capacity = np.ones(len(head), dtype=np.int32)
    graph = csr_array((capacity, head.astype(np.int32), start.astype(np.int32)), shape=(sink + 1, sink + 1))
    flow = maximum_flow(graph, source, sink, method="dinic").flow
    row = slice(flow.indptr[source], flow.indptr[source + 1])
    return left_labels[flow.indices[row][flow.data[row] > 0]]


def _numbered(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted distinct labels, and every label's place among them (as `np.unique`, without sorting)."""
    used = np.zeros(labels.max() + 1, dtype=bool)
    used[labels] = True
    return np.flatnonzero(used), (used.cumsum(dtype=np.int64) - 1)[labels]
