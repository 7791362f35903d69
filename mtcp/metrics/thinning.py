"""Thinning of any number of binary maps at once, one bit each.

The algorithm is Guo and Hall's in the form of Lam, Lee and Suen (Thinning methodologies, PAMI 1992, pages 879 and
880), as in MATLAB's `bwmorph(., 'thin', inf)`. The bits of a machine word are separate maps, so one pass of Boolean
operations thins 64 thresholds of a soft map. Only pixels near the last changes are visited.
"""

from functools import reduce

import numpy as np


def stack_levels(level: np.ndarray, levels: int) -> np.ndarray:
    """Return words (H, W, ceil(levels / 64)), uint64: bit k of a pixel is set where `level` > k; level in 0..levels."""
    words = -(-levels // 64)
    table = np.zeros((levels + 1, words * 64), dtype=bool)
    for count in range(levels + 1):
        table[count, :count] = True
    packed = np.packbits(table, axis=1, bitorder="little").view("<u8").astype(np.uint64)
    return packed[level]


def unstack(words: np.ndarray, levels: int) -> np.ndarray:
    """Return (n, levels) booleans of words (n, W): the inverse of `stack_levels` for a list of pixels."""
    octets = np.ascontiguousarray(words.astype("<u8")).view(np.uint8)
    return np.unpackbits(octets, axis=1, bitorder="little", count=levels).view(bool)


def thin(words: np.ndarray) -> np.ndarray:
    """Return words (H, W, n), uint64, with every bit plane thinned to lines one pixel wide, 8-connected."""
    height, width, count = words.shape
    padded = np.zeros((height + 2, width + 2, count), dtype=np.uint64)
    padded[1:-1, 1:-1] = words
    flat, row = padded.reshape(-1, count), width + 2
    # East, then counter-clockwise, as in the paper: x1 ... x8.
    around = np.array([1, 1 - row, -row, -1 - row, -1, row - 1, row, row + 1])[:, None]
    marked = np.zeros(len(flat), dtype=bool)
    active = changed_before = np.flatnonzero(_any(flat))
    second = False
    while len(active):
        removed = _removable(np.take(flat, active + around, axis=0), second)
        centre = np.take(flat, active, axis=0)
        removed &= centre
        hit = np.flatnonzero(_any(removed))
        changed = active[hit]
        flat[changed] = (centre ^ removed)[hit]
        # A pixel can become removable only if a pixel near it changed in the last two passes.
        for pixels in (changed_before, changed):
            marked[pixels] = True
            marked[pixels + around] = True
        active = np.flatnonzero(marked)
        marked[active] = False
        active = active[_any(np.take(flat, active, axis=0))]
        changed_before, second = changed, not second
    return padded[1:-1, 1:-1].copy()


def _any(words: np.ndarray) -> np.ndarray:
    """Return (n,): which rows of words (n, W) have a bit set (`any` over a short last axis is slow)."""
    return reduce(np.bitwise_or, words.T) != 0


def _removable(x: np.ndarray, second: bool) -> np.ndarray:
    """Return the bits (n, W) whose centre pixel may be removed, given the neighbours x1 ... x8 (8, n, W).

    Conditions G1 (one crossing), G2 (two or three of the pairs of neighbours, counted from either start) and G3, or G3'
    in every second pass. Computed in place: at these sizes allocation costs as much as the operation.
    """
    x1, x2, x3, x4, x5, x6, x7, x8 = x
    a1, a2, a3, a4 = x1 | x2, x3 | x4, x5 | x6, x7 | x8
    c1, c2, c3, c4 = x2 | x3, x4 | x5, x6 | x7, x8 | x1
    b1, b2, b3, b4 = c1 & ~x1, c2 & ~x3, c3 & ~x5, c4 & ~x7
    result = ~((b1 & b2) | (b3 & b4))
    b1 ^= b2
    b3 ^= b4
    b1 ^= b3
    result &= b1
    result &= _at_least_two(a1, a2, a3, a4)
    result &= _at_least_two(c1, c2, c3, c4)
    for part in (a2, a3, a4, c1, c2, c3, c4):
        a1 &= part
    side = (x6 | x7 | ~x4) & x5 if second else (x2 | x3 | ~x8) & x1
    side |= a1
    result &= ~side
    return result


def _at_least_two(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    return (a & b) | (c & d) | ((a | b) & (c | d))
