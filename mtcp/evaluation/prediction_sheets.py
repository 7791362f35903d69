"""Prediction sheets: per image a picture of truth, prediction and error of every task, as PNG.

Drawn with Pillow alone: a sheet takes milliseconds, and equal input gives equal pixels. Photographs that are
not rendered stay in the run's own folder; what is published is the report's decision.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mtcp.core.files import replacing
from mtcp.core.tasks import VOID, Task

RGB = NDArray[np.uint8]

_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_VOID_GREY: Final = np.array([128, 128, 128], dtype=np.uint8)
#: Support points of a perceptually uniform colour scale, dark blue over green to yellow (viridis).
_SCALE: Final = np.array(
    [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137], [53, 183, 121],
     [109, 205, 89], [180, 222, 44], [253, 231, 37]], dtype=float,
)  # fmt: skip
_WIDTH: Final = 220
_GAP: Final = 8
_LINE: Final = 18
_CHIP: Final = 110
_NORMALS_ERROR: Final = 60.0
_PARTS: Final = ("background", "head", "torso", "upper arm", "lower arm", "upper leg", "lower leg")


@dataclass(frozen=True)
class Sample:
    """One image (3, H, W) as the network saw it, with truth and final prediction by task at the truth's size."""

    image_id: str
    image: NDArray[np.float32]
    truths: dict[str, np.ndarray]
    predictions: dict[str, np.ndarray]


@dataclass(frozen=True)
class _Row:
    """One task of a sheet: three pictures, a title over each, and a legend of (colour, text) or a colour bar."""

    titles: tuple[str, str, str]
    pictures: tuple[RGB, RGB, RGB]
    legend: tuple[tuple[RGB, str], ...] = ()
    bar: tuple[str, str] | None = None


def write_sheets(
    folder: Path, samples: Sequence[Sample], tasks: Sequence[Task], class_names: Sequence[str] = ()
) -> None:
    """Write `<position>-<id>.png` for every sample into `folder`, and remove what lay there before.

    `class_names` are those of semantic segmentation; classes without a name are shown by number.
    """
    names = {"semseg": class_names, "human_parts": _PARTS}
    shutil.rmtree(folder, ignore_errors=True)
    for position, sample in enumerate(samples):
        with replacing(folder / f"{position:02d}-{sample.image_id.replace('/', '_')}.png") as temporary:
            sheet(sample, tasks, names).save(temporary, format="PNG")


def sheet(sample: Sample, tasks: Sequence[Task], class_names: Mapping[str, Sequence[str]]) -> Image.Image:
    """Return the picture of one sample: the image, then per task truth, prediction and error."""
    photograph = ((sample.image.transpose(1, 2, 0) * _STD + _MEAN) * 255).round().clip(0, 255).astype(np.uint8)
    rows = [
        _row(task, sample.truths[task.name], sample.predictions[task.name], class_names.get(task.name, ()))
        for task in tasks
    ]
    height = round(_WIDTH * photograph.shape[0] / photograph.shape[1])
    width = 3 * _WIDTH + 4 * _GAP
    legends = [_legend_lines(row, width) for row in rows]
    total = _GAP + (_LINE + height + _GAP) + sum(_LINE + height + lines * _LINE + _GAP for lines in legends)
    canvas = Image.new("RGB", (width, total), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=12)
    draw.text((_GAP, _GAP), f"image {sample.image_id}", fill="black", font=font)
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


def class_colours(classes: int) -> RGB:
    """Return (classes, 3): hues a golden angle apart in three brightnesses and two saturations, so that all differ."""
    index = np.arange(classes)
    hue = (index * 0.61803398875) % 1
    value = np.array([0.95, 0.75, 0.5])[index % 3]
    saturation = np.array([0.45, 0.95])[index // 3 % 2]
    channel = (np.array([5.0, 3.0, 1.0])[None] + 6 * hue[:, None]) % 6
    shade = np.clip(np.minimum(channel, 4 - channel), 0, 1)
    return (255 * value[:, None] * (1 - saturation[:, None] * shade)).round().astype(np.uint8)


def _row(task: Task, truth: np.ndarray, prediction: np.ndarray, names: Sequence[str]) -> _Row:
    match task.name:
        case "semseg" | "human_parts":
            return _class_row(task, truth, prediction.argmax(axis=0), names)
        case "depth":
            return _depth_row(task, truth[0], prediction[0])
        case "normals":
            return _normals_row(task, truth, prediction)
    return _binary_row(task, truth[0], 1 / (1 + np.exp(-prediction[0].astype(float))))


def _class_row(task: Task, truth: np.ndarray, found: np.ndarray, names: Sequence[str]) -> _Row:
    colours, valid = class_colours(task.channels), truth != VOID
    wrong = np.where((found != truth)[..., None], np.array([200, 40, 40]), np.array([235, 235, 235]))
    shown = np.union1d(truth[valid], found)
    return _Row(
        (f"{task.label}: truth", "prediction", f"error: {_share(found != truth, valid)} wrong"),
        (
            _with_void(colours[np.where(valid, truth, 0)], valid),
            colours[found],
            _with_void(wrong.astype(np.uint8), valid),
        ),
        legend=tuple((colours[index], names[index] if index < len(names) else f"class {index}") for index in shown),
    )


def _depth_row(task: Task, truth: np.ndarray, depth: np.ndarray) -> _Row:
    valid = truth != VOID
    low, high = (float(truth[valid].min()), float(truth[valid].max())) if valid.any() else (0.0, 1.0)
    error = np.abs(depth - truth)
    return _Row(
        (f"{task.label}: truth", "prediction", f"error: 0 to {(high - low) / 2:.1f} m"),
        (
            _with_void(_coloured(truth, low, high), valid),
            _coloured(depth, low, high),
            _with_void(_coloured(error, 0, (high - low) / 2), valid),
        ),
        bar=(f"{low:.1f} m", f"{high:.1f} m"),
    )


def _normals_row(task: Task, truth: np.ndarray, normals: np.ndarray) -> _Row:
    valid = (truth != VOID).all(axis=0)
    finite = np.nan_to_num(normals, posinf=0, neginf=0)
    unit = finite / np.maximum(np.linalg.norm(finite, axis=0), 1e-12)
    error = np.rad2deg(np.arccos(np.clip((unit * truth).sum(axis=0), -1, 1)))
    return _Row(
        (f"{task.label}: truth", "prediction", f"error: 0 to {_NORMALS_ERROR:.0f}°"),
        (
            _with_void(_direction(truth), valid),
            _direction(unit),
            _with_void(_coloured(error, 0, _NORMALS_ERROR), valid),
        ),
    )


def _binary_row(task: Task, truth: np.ndarray, probability: np.ndarray) -> _Row:
    valid = truth != VOID
    error = np.abs(probability - truth)
    return _Row(
        (f"{task.label}: truth", "probability, 0 to 1", "error: 0 to 1"),
        (
            _with_void(_grey(truth == 1), valid),
            _grey(probability),
            _with_void(_coloured(error, 0, 1), valid),
        ),
    )


def _direction(normals: np.ndarray) -> RGB:
    """The usual colours of normals: red to the right, green upwards, blue to the viewer, each from -1 to 1."""
    to_viewer = normals * np.array([1, -1, -1])[:, None, None]
    return ((np.nan_to_num(to_viewer).transpose(1, 2, 0) + 1) * 127.5).clip(0, 255).astype(np.uint8)


def _grey(values: np.ndarray) -> RGB:
    return np.repeat((np.nan_to_num(values.astype(float)) * 255).astype(np.uint8)[..., None], 3, axis=2)


def _coloured(values: np.ndarray, low: float, high: float) -> RGB:
    """Values on the colour scale; what is not a number is black."""
    place = (values.astype(float) - low) / max(high - low, 1e-9)
    steps = np.linspace(0, 1, len(_SCALE))
    scaled = np.nan_to_num(place, nan=0.0, posinf=1.0, neginf=0.0)
    picture = np.stack([np.interp(scaled, steps, _SCALE[:, k]) for k in range(3)], axis=-1)
    return np.where(np.isnan(values)[..., None], 0, picture).astype(np.uint8)


def _with_void(picture: RGB, valid: np.ndarray) -> RGB:
    return np.where(valid[..., None], picture, _VOID_GREY)


def _share(wrong: np.ndarray, valid: np.ndarray) -> str:
    return f"{100 * wrong[valid].mean():.0f} %" if valid.any() else "0 %"


def _scaled(picture: RGB, height: int, how: Image.Resampling) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(picture)).resize((_WIDTH, height), how)


def _legend_lines(row: _Row, width: int) -> int:
    if row.bar:
        return 1
    return -(-len(row.legend) // _legend_columns(width))


def _legend_columns(width: int) -> int:
    return (width - 2 * _GAP) // _CHIP


def _draw_legend(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, row: _Row, top: int
) -> None:
    columns = _legend_columns(canvas.width)
    for position, (colour, text) in enumerate(row.legend):
        left, line = _GAP + position % columns * _CHIP, top + position // columns * _LINE
        draw.rectangle((left, line + 2, left + 11, line + 13), fill=tuple(map(int, colour)))
        draw.text((left + 16, line), text, fill="black", font=font)
    if row.bar:
        low, high = row.bar
        gradient = _coloured(np.tile(np.linspace(0, 1, _WIDTH), (10, 1)), 0, 1)
        canvas.paste(Image.fromarray(gradient), (_GAP, top + 2))
        draw.text((_GAP + _WIDTH + 8, top), f"{low} to {high}, grey: no truth", fill="black", font=font)
