"""Every layout by its name, and the reader of a folder."""

from pathlib import Path
from typing import Final

from mtcp.core.errors import UserError
from mtcp.data.formats.layouts import Layout, NyudLayout, PascalLayout
from mtcp.data.formats.mtan import MtanCityscapesLayout, MtanNyuv2Layout

LAYOUTS: Final[dict[str, type[Layout]]] = {
    layout.kind: layout for layout in (NyudLayout, PascalLayout, MtanNyuv2Layout, MtanCityscapesLayout)
}


def open_layout(kind: str, folder: Path, classes: int | None = None) -> Layout:
    """Return the reader of `folder`; raises `UserError` where the folder is missing.

    `classes` chooses among the label maps of a layout that has several.
    """
    if not folder.is_dir():
        raise UserError(f"there are no data in {folder}: run `mtcp data prepare {folder.name}`")
    return LAYOUTS[kind](folder, classes)
