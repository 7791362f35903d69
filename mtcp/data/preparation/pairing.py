"""Do image, labels, depth and normals belong together? Statistics of one image, to be summed over a set.

Most are given for four poses of the second map: unchanged, mirrored, upside down, and both. The three changed poses
show what chance gives for maps of this kind; a map of another image looks like them.
"""

from itertools import permutations, product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mtcp.core.tasks import VOID
from mtcp.data.preparation.derive import edges_from_labels

POSES: Final = ("", "mirrored", "upside down", "turned by 180 degrees")
#: This fraction of each side is left out: white or black frames around photographs are edges in any pose.
_MARGIN: Final = 1 / 16


def poses(plane: NDArray) -> tuple[NDArray, ...]:
    """A map (H, W, ...) unchanged, mirrored, upside down, and both."""
    return plane, plane[:, ::-1], plane[::-1], plane[::-1, ::-1]


def contrast(image: NDArray[np.uint8]) -> NDArray[np.int16]:
    """The larger absolute difference of brightness (sum of three channels) to the left and the upper neighbour."""
    grey = image.sum(axis=-1, dtype=np.int16)
    steps = np.zeros(grey.shape, np.int16)
    steps[:, 1:] = np.abs(np.diff(grey, axis=1))
    steps[1:] = np.maximum(steps[1:], np.abs(np.diff(grey, axis=0)))
    return steps


def depth_steps(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where depth (H, W) differs by more than 8 % from the left or upper neighbour."""
    steps, known = np.zeros(depth.shape, bool), depth != VOID
    steps[:, 1:] |= (np.abs(np.diff(depth, axis=1)) > 0.08 * depth[:, 1:]) & known[:, 1:] & known[:, :-1]
    steps[1:] |= (np.abs(np.diff(depth, axis=0)) > 0.08 * depth[1:]) & known[1:] & known[:-1]
    return steps


def label_steps(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels (H, W) on both sides of every boundary between known labels."""
    edges = edges_from_labels(labels) == 1
    near = edges.copy()
    near[1:] |= edges[:-1]
    near[:, 1:] |= edges[:, :-1]
    return near


def fit_to_image(steps: NDArray[np.int16], lines: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean contrast under `lines` over that of the image, in the four poses, and a count of 1; zeros without lines."""
    height, width = (round(_MARGIN * side) for side in lines.shape)
    inside = slice(height, lines.shape[0] - height), slice(width, lines.shape[1] - width)
    steps, lines = steps[inside], lines[inside]
    count, mean = np.count_nonzero(lines), steps.mean()
    if count == 0 or mean == 0:
        return np.zeros(5)
    return np.array([*(steps[turned].sum() / (count * mean) for turned in poses(lines)), 1.0])


def fit_to_depth(lines: NDArray[np.bool_], steps: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of depth steps on label boundaries, in the four poses, and a count of 1; zeros without steps."""
    count = np.count_nonzero(steps)
    if count == 0:
        return np.zeros(5)
    return np.array([*(np.count_nonzero(steps & turned) / count for turned in poses(lines)), 1.0])


def normals_products(given: NDArray[np.float32], derived: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean outer products (2, 3, 3) of given normals with normals of the depth, unchanged and mirrored."""
    mirrored = np.where(
        derived[:, ::-1, :1] == VOID, np.float32(VOID), derived[:, ::-1] * np.array([-1, 1, 1], np.float32)
    )
    products = np.zeros((2, 3, 3))
    for k, other in enumerate((derived, mirrored)):
        both = (given[..., 0] != VOID) & (other[..., 0] != VOID)
        products[k] = given[both].T.astype(np.float64) @ other[both] / max(np.count_nonzero(both), 1)
    return products


def axes(products: NDArray[np.float64]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The order and signs of the stored channels (x, y, z) for which they agree best with the normals of the depth."""

    def agreement(candidate: tuple[tuple[int, ...], tuple[int, ...]]) -> float:
        order, signs = candidate
        return sum(
            sign * products[channel, axis] for axis, (channel, sign) in enumerate(zip(order, signs, strict=True))
        )

    return max(product(permutations(range(3)), product((1, -1), repeat=3)), key=agreement)
