"""Non-maximum suppression of a soft boundary map across its ridges.

The direction across a ridge is that of the dominant gradient nearby: the first eigenvector of the structure tensor
(Bigün and Granlund, ICCV 1987), which is defined on the flanks and also on the crest, where the gradient itself
vanishes. A pixel is kept where it is no lower than the bilinearly interpolated map one pixel away on either side, as in
Canny's detector and in Dollár and Zitnick's structured-edge toolbox (ICCV 2013), whose tolerance of 1 % is used. There
is no damping near the image border.
"""

from typing import Final

import numpy as np
from scipy.ndimage import uniform_filter

TOLERANCE: Final = 1.01
_NARROW: Final = 3
_WIDE: Final = 5


def suppress(strength: np.ndarray, floor: float) -> np.ndarray:
    """Return the map (H, W), values in [0, 1], with everything below `floor` or off the ridges set to 0."""
    strength = strength.astype(np.float32)
    # Two narrow box filters make a triangle filter, which turns a line one pixel wide into a ridge with flanks.
    smooth = uniform_filter(uniform_filter(strength, _NARROW, mode="nearest"), _NARROW, mode="nearest")
    down, right = np.gradient(smooth)
    down_down, down_right, right_right = (
        uniform_filter(product, _WIDE, mode="nearest") for product in (down * down, down * right, right * right)
    )
    rows, columns = np.nonzero(strength >= np.float32(floor))
    across = 0.5 * np.arctan2(2 * down_right[rows, columns], right_right[rows, columns] - down_down[rows, columns])
    step_row, step_column = np.sin(across), np.cos(across)
    here = strength[rows, columns] * TOLERANCE
    stays = np.ones(len(rows), dtype=bool)
    for sign in (1, -1):
        stays &= here >= _interpolate(strength, rows + sign * step_row, columns + sign * step_column)
    result = np.zeros_like(strength)
    result[rows[stays], columns[stays]] = strength[rows[stays], columns[stays]]
    return result


def _interpolate(values: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return `values` (H, W) at fractional positions, bilinearly; positions outside are clamped to the border."""
    height, width = values.shape
    row, column = row.clip(0, height - 1), column.clip(0, width - 1)
    top, left = np.minimum(row.astype(int), height - 2), np.minimum(column.astype(int), width - 2)
    down, right = row - top, column - left
    flat = values.ravel()
    at = top * width + left
    upper = flat[at] * (1 - right) + flat[at + 1] * right
    lower = flat[at + width] * (1 - right) + flat[at + width + 1] * right
    return upper * (1 - down) + lower * down
