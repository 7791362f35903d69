"""Thinning of up to any number of binary maps at once, one bit each.

The algorithm is Guo and Hall's in the form of Lam, Lee and Suen (Thinning methodologies, PAMI 1992, pages 879 and
880), which is also what MATLAB's `bwmorph(., 'thin', inf)` does. The bits of a machine word are separate maps, so
that one pass of Boolean operations thins 64 thresholds of a soft map; only pixels near the last changes are looked at.
"""

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
    flat = padded.reshape(-1, count)
    row = width + 2
    # East, then counter-clockwise, as in the paper: x1 ... x8.
    around = np.array([1, 1 - row, -row, -1 - row, -1, row - 1, row, row + 1])
    nearby = np.append(around, 0)
    active = np.flatnonzero(flat.any(axis=1))
    changed = [active, active]
    second = False
    while len(active):
        centre = flat[active]
        removed = centre & _removable([flat[active + step] for step in around], second)
        hit = removed.any(axis=1)
        flat[active[hit]] ^= removed[hit]
        changed = [changed[1], active[hit]]
        # A pixel can have become removable only where something near it changed in the last two passes.
        marked = np.zeros(len(flat), dtype=bool)
        for pixels in changed:
            marked[(pixels[:, None] + nearby).ravel()] = True
        active = np.flatnonzero(marked)
        active = active[flat[active].any(axis=1)]
        second = not second
    return padded[1:-1, 1:-1].copy()


def _removable(x: list[np.ndarray], second: bool) -> np.ndarray:
    """Return the bits whose centre may go: conditions G1, G2 and G3 (G3' in every second pass) of the paper."""
    x1, x2, x3, x4, x5, x6, x7, x8 = x
    b1, b2, b3, b4 = ~x1 & (x2 | x3), ~x3 & (x4 | x5), ~x5 & (x6 | x7), ~x7 & (x8 | x1)
    one_crossing = (b1 ^ b2 ^ b3 ^ b4) & ~((b1 & b2) | (b3 & b4))
    a1, a2, a3, a4 = x1 | x2, x3 | x4, x5 | x6, x7 | x8
    c1, c2, c3, c4 = x2 | x3, x4 | x5, x6 | x7, x8 | x1
    two = _at_least_two(a1, a2, a3, a4) & _at_least_two(c1, c2, c3, c4)
    four = a1 & a2 & a3 & a4 & c1 & c2 & c3 & c4
    side = ((x6 | x7 | ~x4) & x5) if second else ((x2 | x3 | ~x8) & x1)
    return one_crossing & two & ~four & ~side


def _at_least_two(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    return (a & b) | (c & d) | ((a | b) & (c | d))
