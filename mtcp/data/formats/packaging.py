"""`packaging.json`: what a data set's files alone do not say. Written by import and renderer, read by the readers.

Keys: `layout` (nyud, pascal), `packaging` (the variant found, in words), `size` ([height, width], null where images
differ), `normals` ({source, z: away or viewer}), `edge` ({source}), `camera` ({fx, fy, cx, cy} in pixels), `classes`.
Tasks under names of their own have such entries under these, class maps with the `names` of their classes.
"""

from pathlib import Path
from typing import Any, Final

from mtcp.core.files import read_json, write_json

FILE: Final = "packaging.json"


def read(folder: Path) -> dict[str, Any]:
    """Return the record of a data set; empty for a folder that was never imported."""
    path = folder / FILE
    return read_json(path) if path.exists() else {}


def write(folder: Path, record: dict[str, Any]) -> None:
    """Write the record of a data set."""
    write_json(folder / FILE, record)
