"""Maximum one-to-one matching of boundary pixels within a distance.

BSDS's benchmark (Martin, Fowlkes and Malik, PAMI 2004) looks for a least-cost matching in which an outlier costs more
than any match; up to that solver's approximation, its size is that of a maximum matching. Here the maximum matching is
exact: augmenting paths (Berge, PNAS 1957) are searched from all unmatched pixels at once, as trees that share no pixel
(multi-source search, as in Azad, Buluç and Pothen, TPDS 2017), until none is left.
"""

from typing import Final

import numpy as np
from scipy.sparse import csr_array

#: Pairs (index of a predicted pixel, index of a true pixel), sorted by the first.
Pairs = tuple[np.ndarray, np.ndarray]

_NONE: Final = -1
_BARRED: Final = -2


def pairs_within(predicted: np.ndarray, truth: np.ndarray, distance: float) -> Pairs:
    """Return all pairs of pixels of two boolean (H, W) maps at most `distance` apart (Euclidean, in pixels).

    Pixels are numbered in row-major order within their own map.
    """
    distance *= 1 + 1e-9  # a tolerance of a whole number of pixels includes that number despite rounding
    reach = int(distance)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = rows**2 + columns**2 <= distance**2
    padded = np.pad(truth, reach)
    number = np.full(padded.shape, _NONE, dtype=np.int32)
    number[padded] = np.arange(padded.sum(), dtype=np.int32)
    width = padded.shape[1]
    row, column = np.nonzero(predicted)
    steps = rows[disc] * width + columns[disc]
    near = number.ravel()[((row + reach) * width + column + reach)[:, None] + steps]
    first, place = np.nonzero(near != _NONE)
    return first, near[first, place]


def matched(pairs: Pairs, cuts: np.ndarray, truths: int) -> np.ndarray:
    """Return which predicted pixels a maximum one-to-one matching uses, for every thresholded map of a prediction.

    `cuts` (pixels, T), boolean: which pixels each of the T thresholded maps contains; `truths`: the number of true
    pixels. The result has the shape of `cuts`; its column sums are the sizes of the maximum matchings. The cuts are
    processed from the last to the first, each starting from the previous matching, since neighbours share most pixels.
    """
    first, second = pairs
    # The pairs as adjacency from predicted to true pixels, and from true to predicted.
    there = csr_array((np.ones(len(first), dtype=bool), (first, second)), shape=(len(cuts), truths))
    back = there.T.tocsr()
    mate, taken = np.full(len(cuts), _NONE), np.full(truths, _NONE)
    result = np.zeros_like(cuts)
    before = np.zeros(len(cuts), dtype=bool)
    for number in reversed(range(cuts.shape[1])):
        cut = cuts[:, number]
        gone = (mate != _NONE) & ~cut
        taken[mate[gone]] = _NONE
        mate[gone] = _NONE
        # A pixel that had no augmenting path still has none, unless a true pixel has become free.
        free = np.flatnonzero(cut & (mate == _NONE) & (gone.any() | ~before))
        waiting = np.flatnonzero(taken == _NONE)
        # Search from the side with fewer free pixels: failed searches cost most.
        if len(free) < len(waiting):
            _augment(there, free, mate, taken, np.ones(truths, dtype=bool))
        else:
            _augment(back, waiting, taken, mate, cut)
        result[:, number] = mate != _NONE
        before = cut
    return result


def _augment(near: csr_array, free: np.ndarray, mate: np.ndarray, taken: np.ndarray, allowed: np.ndarray) -> None:
    """Enlarge a matching in place until no augmenting path starts at the unmatched pixels `free` of one map.

    Row p of `near` lists the pixels of the other map near p, of which only those `allowed` may be used. `mate` (for the
    first map) and `taken` (for the other) hold each pixel's partner. Each round grows a tree from every free pixel,
    through pixels of the other map to their partners and on, until it reaches an unmatched pixel; every tree that does
    adds one match.
    """
    ends, names = near.indptr, near.indices
    while len(free):
        parent = np.where(allowed, _NONE, _BARRED)
        root, leaf = np.full(len(mate), _NONE), np.full(len(mate), _NONE)
        root[free] = front = free
        while len(front):
            start, count = ends[front], ends[front + 1] - ends[front]
            reached = names[np.repeat(start - count.cumsum() + count, count) + np.arange(count.sum())]
            new = parent[reached] == _NONE
            reached, source = reached[new], np.repeat(front, count)[new]
            # A pixel reached more than once keeps the parent that was written last.
            parent[reached] = source
            only = parent[reached] == source
            reached, source = reached[only], source[only]
            front, tree = taken[reached], root[source]
            leaf[tree[front == _NONE]] = reached[front == _NONE]
            grows = leaf[tree] == _NONE
            front = front[grows]
            root[front] = tree[grows]
        leaves = leaf[free]
        free, leaves = free[leaves == _NONE], leaves[leaves != _NONE]
        if not len(leaves):
            return
        while len(leaves):
            source = parent[leaves]
            mate[source], leaves = leaves, mate[source]
            taken[mate[source]] = source
            leaves = leaves[leaves != _NONE]
