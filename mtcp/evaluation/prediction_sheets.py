"""Prediction sheets: one PNG per image with ground truth, prediction and error of every task.

Drawn with Pillow: a sheet takes milliseconds, and equal input gives equal pixels. Real photographs stay in the run's
folder; the report decides what is published.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mtcp.core.files import replacing
from mtcp.core.images import IMAGENET_MEAN, IMAGENET_STD
from mtcp.core.project_files import sheet_file
from mtcp.core.tasks import VOID, Task
from mtcp.evaluation.pictures import Row, class_colours, class_legend, coloured, direction, drawn, grey, with_void

_NORMALS_ERROR: Final = 60.0


@dataclass(frozen=True)
class Sample:
    """One image (3, H, W) as the network saw it, with truth and final prediction by task at the truth's size."""

    image_id: str
    image: NDArray[np.float32]
    truths: dict[str, np.ndarray]
    predictions: dict[str, np.ndarray]


def write_sheets(
    folder: Path, samples: Sequence[Sample], tasks: Sequence[Task], class_names: Mapping[str, Sequence[str]]
) -> None:
    """Write `<position>-<id>.png` for every sample to `folder`, after removing its earlier contents.

    `class_names`: by task, where known; classes without a name are shown by number.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for position, sample in enumerate(samples):
        with replacing(folder / sheet_file(position, sample.image_id)) as temporary:
            sheet(sample, tasks, class_names).save(temporary, format="PNG")


def sheet(sample: Sample, tasks: Sequence[Task], class_names: Mapping[str, Sequence[str]]) -> Image.Image:
    """Return the sheet of one sample: the image, then ground truth, prediction and error per task."""
    photograph = (
        ((sample.image.transpose(1, 2, 0) * IMAGENET_STD + IMAGENET_MEAN) * 255).round().clip(0, 255).astype(np.uint8)
    )
    rows = [
        _row(task, sample.truths[task.name], sample.predictions[task.name], class_names.get(task.name, ()))
        for task in tasks
    ]
    return drawn(f"image {sample.image_id}", photograph, rows)


def _row(task: Task, truth: np.ndarray, prediction: np.ndarray, names: Sequence[str]) -> Row:
    match task.kind:
        case "semseg" | "human_parts":
            return _class_row(task, truth, prediction.argmax(axis=0), names)
        case "depth" if not task.disparity:
            return _values_row(task, truth[0], prediction[0], "{:.1f} m")
        case "depth" | "regression":
            return _values_row(task, truth[0], prediction[0], f"{{:.4g}} {task.unit}".rstrip())
        case "normals":
            return _normals_row(task, truth, prediction)
    return _binary_row(task, truth[0], 1 / (1 + np.exp(-prediction[0].astype(float))))


def _class_row(task: Task, truth: np.ndarray, found: np.ndarray, names: Sequence[str]) -> Row:
    colours, valid = class_colours(task.channels), truth != VOID
    wrong = np.where((found != truth)[..., None], np.array([200, 40, 40]), np.array([235, 235, 235]))
    shown = np.union1d(truth[valid], found)
    return Row(
        (f"{task.label}: truth", "prediction", f"error: {_share(found != truth, valid)} wrong"),
        (
            with_void(colours[np.where(valid, truth, 0)], valid),
            colours[found],
            with_void(wrong.astype(np.uint8), valid),
        ),
        legend=class_legend(shown, task.channels, names),
    )


def _values_row(task: Task, truth: np.ndarray, found: np.ndarray, form: str) -> Row:
    valid = truth != VOID
    low, high = (float(truth[valid].min()), float(truth[valid].max())) if valid.any() else (0.0, 1.0)
    error = np.abs(found - truth)
    return Row(
        (f"{task.label}: truth", "prediction", f"error: 0 to {form.format((high - low) / 2)}"),
        (
            with_void(coloured(truth, low, high), valid),
            coloured(found, low, high),
            with_void(coloured(error, 0, (high - low) / 2), valid),
        ),
        bar=f"{form.format(low)} to {form.format(high)}, grey: no truth",
    )


def _normals_row(task: Task, truth: np.ndarray, normals: np.ndarray) -> Row:
    valid = (truth != VOID).all(axis=0)
    finite = np.nan_to_num(normals, posinf=0, neginf=0)
    unit = finite / np.maximum(np.linalg.norm(finite, axis=0), 1e-12)
    error = np.rad2deg(np.arccos(np.clip((unit * truth).sum(axis=0), -1, 1)))
    return Row(
        (f"{task.label}: truth", "prediction", f"error: 0 to {_NORMALS_ERROR:.0f}°"),
        (
            with_void(direction(truth), valid),
            direction(unit),
            with_void(coloured(error, 0, _NORMALS_ERROR), valid),
        ),
    )


def _binary_row(task: Task, truth: np.ndarray, probability: np.ndarray) -> Row:
    valid = truth != VOID
    error = np.abs(probability - truth)
    return Row(
        (f"{task.label}: truth", "probability, 0 to 1", "error: 0 to 1"),
        (
            with_void(grey(truth == 1), valid),
            grey(probability),
            with_void(coloured(error, 0, 1), valid),
        ),
    )


def _share(wrong: np.ndarray, valid: np.ndarray) -> str:
    return f"{100 * wrong[valid].mean():.0f} %" if valid.any() else "0 %"
