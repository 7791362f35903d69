"""Writing arrays as a layout's files."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def write_png(path: Path, values: NDArray[np.uint8]) -> None:
    """Write an 8-bit PNG without compression."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, compress_level=0)


def write_array(path: Path, values: NDArray[Any]) -> None:
    """Write a .npy file.

    Avoids `np.save` to the path: it writes through the C library, which silently loses its last buffer on a full disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    path.write_bytes(content.getbuffer())


def write_ids(path: Path, ids: list[str]) -> None:
    """Write a split list, one id per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{image_id}\n" for image_id in ids), encoding="utf-8")
