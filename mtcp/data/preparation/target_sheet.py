"""Images of targets for visual inspection."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mtcp.core.tasks import CLASSES, VOID
from mtcp.data.formats.label_codings import palette
from mtcp.data.formats.layouts import Layout

_VOID_GREY: Final = 60
_LINE: Final = 18
_GAP: Final = 3


def colour(kind: str, target: NDArray[Any]) -> NDArray[np.uint8]:
    """Show a target of one kind (conventions of `mtcp.data.formats.layouts`) as RGB (H, W, 3); void is dark grey.

    Depth runs from near (light) to the image's farthest (dark), regression from the image's smallest (dark) to its
    largest value (light). Normals have the colours of `mtcp.evaluation.pictures`: red to the right, green upwards, blue
    to the viewer, each from -1 to 1.
    """
    if kind in CLASSES:
        picture = palette()[target]
        void = target == VOID
    elif kind == "depth":
        void = target == VOID
        farthest = target[~void].max(initial=1e-6)
        picture = np.repeat((255 * (1 - np.minimum(target / farthest, 1)))[..., None], 3, axis=-1)
    elif kind == "regression":
        void = target == VOID
        low, high = (target[~void].min(), target[~void].max()) if not void.all() else (0, 1)
        picture = np.repeat((255 * (target - low) / max(high - low, 1e-9))[..., None], 3, axis=-1)
    elif kind == "normals":
        void = target[..., 0] == VOID
        picture = (np.clip(target, -1, 1) * np.array([1, -1, -1]) + 1) * 127.5
    else:
        void = target == VOID
        picture = np.repeat(np.where(target == 1, 255, 0)[..., None], 3, axis=-1)
    return np.where(void[..., None], _VOID_GREY, picture).astype(np.uint8)


def sheet(layout: Layout, ids: list[str], tasks: list[str]) -> Image.Image:
    """One row per image: the photograph and its targets in columns under their names."""
    rows = []
    for image_id in ids:
        shown = (colour(layout.traits(task).kind, layout.target(task, image_id)) for task in tasks)
        rows.append([layout.image(image_id), *shown])
    titles, font = ["image", *tasks], ImageFont.load_default(size=12)
    widest = max(*(row[0].shape[1] for row in rows), *(int(font.getlength(title)) + 2 * _GAP for title in titles))
    tallest = max(row[0].shape[0] for row in rows)
    canvas = Image.new("RGB", (widest * len(titles), _LINE + tallest * len(rows)))
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        draw.text((column * widest + _GAP, 1), title, fill="white", font=font)
        for row, pictures in enumerate(rows):
            canvas.paste(Image.fromarray(pictures[column]), (column * widest, _LINE + row * tallest))
    return canvas
