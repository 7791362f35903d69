"""Images of predictions, drawn with Pillow: colours for every kind of target, and rows of images on one canvas.

A canvas takes milliseconds, and equal input gives equal pixels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

RGB = NDArray[np.uint8]

_VOID_GREY: Final = np.array([128, 128, 128], dtype=np.uint8)
#: Support points of a perceptually uniform colour scale, dark blue over green to yellow (viridis).
_SCALE: Final = np.array(
    [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137], [53, 183, 121],
     [109, 205, 89], [180, 222, 44], [253, 231, 37]], dtype=float,
)  # fmt: skip
_WIDTH: Final = 220
#: Narrower photographs are drawn broader than they are: a canvas with their shape could take gigabytes.
_TALLEST: Final = 20 * _WIDTH
_GAP: Final = 8
_LINE: Final = 18
_CHIP: Final = 110


@dataclass(frozen=True)
class Row:
    """Images side by side with titles, and a legend of (colour, text), or a colour bar with its text."""

    titles: tuple[str, ...]
    pictures: tuple[RGB, ...]
    legend: tuple[tuple[RGB, str], ...] = ()
    bar: str | None = None


def drawn(heading: str, photograph: RGB, rows: Sequence[Row]) -> Image.Image:
    """Return a canvas with the photograph on top and the rows below it."""
    height = min(max(1, round(_WIDTH * photograph.shape[0] / photograph.shape[1])), _TALLEST)
    columns = max(len(row.pictures) for row in rows)
    width = columns * _WIDTH + (columns + 1) * _GAP
    legends = [_legend_lines(row, width) for row in rows]
    total = _GAP + (_LINE + height + _GAP) + sum(_LINE + height + lines * _LINE + _GAP for lines in legends)
    canvas = Image.new("RGB", (width, total), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=12)
    draw.text((_GAP, _GAP), heading, fill="black", font=font)
    canvas.paste(_scaled(photograph, height, Image.Resampling.BICUBIC), (_GAP, _GAP + _LINE))
    top = _GAP + _LINE + height + _GAP
    for row, lines in zip(rows, legends, strict=True):
        for column, (title, picture) in enumerate(zip(row.titles, row.pictures, strict=True)):
            left = _GAP + column * (_WIDTH + _GAP)
            draw.text((left, top), title, fill="black", font=font)
            canvas.paste(_scaled(picture, height, Image.Resampling.NEAREST), (left, top + _LINE))
        _draw_legend(canvas, draw, font, row, top + _LINE + height + 3)
        top += _LINE + height + lines * _LINE + _GAP
    return canvas


def class_legend(shown: Iterable[int], classes: int, names: Sequence[str]) -> tuple[tuple[RGB, str], ...]:
    """Colour and name of each shown class; a class without a name is given by number."""
    colours = class_colours(classes)
    return tuple((colours[k], names[k] if k < len(names) else f"class {k}") for k in shown)


def class_colours(classes: int) -> RGB:
    """Return distinct colours (classes, 3): hues a golden angle apart, in three brightnesses and two saturations."""
    index = np.arange(classes)
    hue = (index * 0.61803398875) % 1
    value = np.array([0.95, 0.75, 0.5])[index % 3]
    saturation = np.array([0.45, 0.95])[index // 3 % 2]
    channel = (np.array([5.0, 3.0, 1.0])[None] + 6 * hue[:, None]) % 6
    shade = np.clip(np.minimum(channel, 4 - channel), 0, 1)
    return (255 * value[:, None] * (1 - saturation[:, None] * shade)).round().astype(np.uint8)


def direction(normals: np.ndarray) -> RGB:
    """The usual colours of normals: red to the right, green upwards, blue to the viewer, each from -1 to 1."""
    to_viewer = normals * np.array([1, -1, -1])[:, None, None]
    return ((np.nan_to_num(to_viewer).transpose(1, 2, 0) + 1) * 127.5).clip(0, 255).astype(np.uint8)


def grey(values: np.ndarray) -> RGB:
    """Values from 0 to 1 as black to white."""
    return np.repeat((np.nan_to_num(values.astype(float)) * 255).astype(np.uint8)[..., None], 3, axis=2)


def coloured(values: np.ndarray, low: float, high: float) -> RGB:
    """Values on the colour scale; NaN is black."""
    place = (values.astype(float) - low) / max(high - low, 1e-9)
    steps = np.linspace(0, 1, len(_SCALE))
    scaled = np.nan_to_num(place, nan=0.0, posinf=1.0, neginf=0.0)
    picture = np.stack([np.interp(scaled, steps, _SCALE[:, k]) for k in range(3)], axis=-1)
    return np.where(np.isnan(values)[..., None], 0, picture).astype(np.uint8)


def with_void(picture: RGB, valid: np.ndarray) -> RGB:
    """The image with invalid pixels in grey."""
    return np.where(valid[..., None], picture, _VOID_GREY)


def _scaled(picture: RGB, height: int, how: Image.Resampling) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(picture)).resize((_WIDTH, height), how)


def _legend_lines(row: Row, width: int) -> int:
    if row.bar is not None:
        return 1
    return -(-len(row.legend) // _legend_columns(width))


def _legend_columns(width: int) -> int:
    return (width - 2 * _GAP) // _CHIP


def _draw_legend(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    row: Row,
    top: int,
) -> None:
    columns = _legend_columns(canvas.width)
    for position, (colour, text) in enumerate(row.legend):
        left, line = _GAP + position % columns * _CHIP, top + position // columns * _LINE
        draw.rectangle((left, line + 2, left + 11, line + 13), fill=tuple(map(int, colour)))
        draw.text((left + 16, line), text, fill="black", font=font)
    if row.bar is not None:
        room = canvas.width - 3 * _GAP - int(font.getlength(row.bar))  # in a single column the text needs a part of it
        length = max(min(_WIDTH, room), _LINE)
        gradient = coloured(np.tile(np.linspace(0, 1, length), (10, 1)), 0, 1)
        canvas.paste(Image.fromarray(gradient), (_GAP, top + 2))
        draw.text((_GAP + length + 8, top), row.bar, fill="black", font=font)
