"""`packaging.json`: what a data set's files do not show. Written by import and the renderer, read by the readers.

Keys: `layout`, `packaging` (the variant found, in words), `size` ([height, width], null where images differ), `normals`
({source, z: away or viewer}), `edge` ({source}), `camera` ({fx, fy, cx, cy} in pixels), `classes` (names); where they
apply, also `depth` ({unit}), `semseg` ({coding}), `accepted`, `inputs` and `derived`. Tasks with other names than the
standard ones have such entries under their names; class maps add the `names` of their classes.
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
