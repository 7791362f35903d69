"""Opening a data set's folder with the reader of its layout."""

from pathlib import Path
from typing import Final

from mtcp.core.data_sets import description_path, read_description
from mtcp.core.errors import UserError
from mtcp.data.formats.described import COPY, DescribedLayout
from mtcp.data.formats.layouts import Layout
from mtcp.data.formats.mtan import MtanCityscapesLayout, MtanNyuv2Layout

_CODED: Final[dict[str, type[Layout]]] = {layout.kind: layout for layout in (MtanNyuv2Layout, MtanCityscapesLayout)}


def layout_in(kind: str, folder: Path, classes: int | None = None, root: Path | None = None) -> Layout:
    """Return the reader of `folder` for layout `kind`; raises `UserError` where there is no description of it.

    The description is that of the project `root`, if given and present, else mtcp's, else the copy in the folder.
    """
    if kind in _CODED:
        return _CODED[kind](folder, classes)
    described = description_path(kind, root) or folder / COPY
    if not described.is_file():
        raise UserError(f"{folder} is of the layout '{kind}', and {folder / COPY}, which describes it, is missing")
    return DescribedLayout(kind, read_description(described), folder, classes)


def open_layout(kind: str, folder: Path, classes: int | None = None) -> Layout:
    """Return the reader of `folder`; raises `UserError` where the folder is missing.

    `classes` chooses among the label maps of a layout that has several.
    """
    if not folder.is_dir():
        raise UserError(f"there are no data in {folder}: run `mtcp data prepare {folder.name}`")
    return layout_in(kind, folder, classes)
