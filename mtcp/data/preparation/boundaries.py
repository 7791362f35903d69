"""Edges derived from label maps whose objects may have void borders."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mtcp.core.tasks import VOID
from mtcp.data.preparation.derive import edges_from_labels

#: Void within this distance of a label, as a fraction of the longer side, is a border; further away, the label is
#: unknown. VOC's borders are 5 pixels wide at 500 pixels: 2 to 4 steps reach their middle, and 8 are enough.
_REACH: Final = 1 / 64


def closed(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the label map (H, W) with void pixels near a label set to the nearest one, in steps of one pixel (L1).

    Labels meet in the middle of a void border. Void further than 1/64 of the longer side from any label stays void.
    """
    labels = labels.copy()
    for _ in range(max(1, round(_REACH * max(labels.shape)))):
        void = labels == VOID
        if not void.any():
            break
        before = np.pad(labels, 1, constant_values=VOID)
        for near in (before[:-2, 1:-1], before[2:, 1:-1], before[1:-1, :-2], before[1:-1, 2:]):
            taken = void & (near != VOID)
            labels[taken] = near[taken]
            void &= ~taken
    return labels


def boundaries(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the boundaries (H, W) between labels, one pixel wide, also across void borders."""
    return edges_from_labels(closed(labels)) == 1


def write_boundaries(path: Path, edges: NDArray[np.bool_]) -> None:
    """Write boundaries as a PNG with one bit per pixel."""
    Image.fromarray(edges).save(path, optimize=False)
