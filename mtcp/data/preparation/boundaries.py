"""Edges derived from label maps, whose objects may have borders of void."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mtcp.core.tasks import VOID
from mtcp.data.preparation.derive import edges_from_labels

#: Void this far from a label, as a share of the longer side, is a border; beyond it nothing is known. VOC's borders
#: are 5 pixels wide at 500, so that 2 to 4 steps reach their middle: 8 do with room to spare.
_REACH: Final = 1 / 64


def closed(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the label map (H, W) with void near a label given to the nearest one, in steps of one pixel (L1).

    Labels meet in the middle of a border of void. Void further than 1/64 of the longer side from any label stays.
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
    """Return the boundaries (H, W) between labels, one pixel wide, also where a border of void lies between them."""
    return edges_from_labels(closed(labels)) == 1


def write_boundaries(path: Path, edges: NDArray[np.bool_]) -> None:
    """Write boundaries as a PNG of one bit a pixel."""
    Image.fromarray(edges).save(path, optimize=False)
