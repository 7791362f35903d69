"""Codings of label images, and their names on the command line (`--label-coding`)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mtcp.core.errors import UserError
from mtcp.core.tasks import VOID

#: Name -> meaning.
CODINGS: Final = {
    "zero": "0 is the first class, 255 is void",
    "one": "1 is the first class, 0 (and 255) is void",
    "colours": "colours of VOC's palette",
}


def classes_of(values: NDArray[np.uint8], coding: str) -> NDArray[np.uint8]:
    """Return stored labels (H, W) as classes from 0 with void 255; `coding` is "zero" or "one"."""
    if coding == "zero":
        return values
    return np.where(values == VOID, VOID, values - np.uint8(1)).astype(np.uint8)  # 0 wraps around to void


def palette() -> NDArray[np.uint8]:
    """The colours (256, 3) of PASCAL VOC's label images: bit 7 - k of a channel is bit 3k + channel of the index."""
    values = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for channel in range(3):
        for bit in range(3):
            colours[:, channel] |= (((values >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def from_colours(picture: NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
    """Return the palette index of every pixel of an image (H, W, 3); raises `UserError` for any other colour."""
    known = palette().astype(np.int64) @ (1 << 16, 1 << 8, 1)
    order = np.argsort(known)
    seen = picture.astype(np.int64) @ (1 << 16, 1 << 8, 1)
    place = np.minimum(np.searchsorted(known[order], seen), 255)
    if (known[order][place] != seen).any():
        strange = picture[known[order][place] != seen][0]
        raise UserError(f"{where} has the colour {tuple(map(int, strange))}, which VOC's palette has not")
    return order[place].astype(np.uint8)
