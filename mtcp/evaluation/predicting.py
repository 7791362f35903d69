"""Predictions of a trained network on a user's photographs, at their size, as arrays and as image files.

A photograph is treated like a test image: it is resized (bicubic) to the network's size whatever its aspect ratio, and
the outputs are resized bilinearly to the photograph's size.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from mtcp.core.errors import UserError
from mtcp.core.files import replacing
from mtcp.core.run_config import RunConfig
from mtcp.core.tasks import UNITS, Task
from mtcp.data.formats.layouts import read_picture, to_rgb
from mtcp.data.formats.writing import write_array
from mtcp.data.loading.batches import network_input
from mtcp.evaluation.pictures import RGB, Row, class_colours, class_legend, coloured, direction, drawn, grey
from mtcp.models.architecture import Architecture
from mtcp.models.layers import at_size

#: By task, according to its kind: classes uint8 (H, W); depth float32 (H, W) in metres, or a disparity; normals float32
#: (H, W, 3), unit vectors, x to the right, y down, z away from the viewer; edge and sal float32 (H, W), probabilities;
#: regression float32 (H, W) in the data set's unit.
Predictions = dict[str, NDArray[Any]]


def require_photographs(paths: Sequence[Path]) -> None:
    """Raise `UserError` where one is no image file, or two would have predictions of the same file names."""
    for path in paths:
        _opened(path, decode=False).close()
    stems = [path.stem for path in paths]
    for stem in stems:
        if stems.count(stem) > 1:
            raise UserError(f"two photographs are called '{stem}': predict them one by one, each with its own --output")


def read_photograph(path: Path) -> NDArray[np.uint8]:
    """Read an image file as RGB (H, W, 3), rotated according to EXIF; raises `UserError` where it is not an image."""
    return to_rgb(ImageOps.exif_transpose(_opened(path)), path, path.stem)


def _opened(path: Path, decode: bool = True) -> Image.Image:
    if path.is_dir():
        raise UserError(f"{path} is a folder: name its photographs, such as {path}/*.jpg")
    if not path.is_file():
        raise UserError(f"{path} is not a file: name a photograph, such as a .jpg or .png")
    return read_picture(path, path.stem, decode)


def require_photograph(given: object) -> NDArray[np.uint8]:
    """Return an array (H, W, 3) of uint8 as it is; raises `UserError` for anything else."""
    array = given if isinstance(given, np.ndarray) else None
    if array is None or array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        what = type(given).__name__ if array is None else f"{array.dtype} of shape {array.shape}"
        raise UserError(
            f"a photograph is the path of an image file or an array (H, W, 3) of uint8, 0 to 255; got {what}"
        )
    return array


@torch.no_grad()
def predict(network: Architecture, config: RunConfig, photograph: NDArray[np.uint8], device: str) -> Predictions:
    """Return the predictions of `network`, trained under `config`, for a photograph (H, W, 3)."""
    size = (photograph.shape[0], photograph.shape[1])
    image = network_input(photograph, config.height, config.width).to(device)
    outputs = network.to(device).eval()(image)
    return {task.name: _as_target(task, outputs[task.name]["final"].float().cpu(), size) for task in config.task_list}


def _as_target(task: Task, output: Tensor, size: tuple[int, int]) -> NDArray[Any]:
    """Convert a network's output (1, C, h, w) to the task's values at `size`."""
    if task.classifies:
        return _classes(output, size)
    values = at_size(output, size)[0]
    if task.kind == "normals":
        return torch.nn.functional.normalize(values, dim=0).permute(1, 2, 0).numpy()
    return (values if task.kind in ("depth", "regression") else values.sigmoid())[0].numpy()


def _classes(logits: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The class with the largest logit at `size`, class by class: 40 planes of a large photograph take gigabytes."""
    best = at_size(logits[:, :1], size)[0, 0]
    found = torch.zeros(best.shape, dtype=torch.uint8)
    for k in range(1, logits.shape[1]):
        plane = at_size(logits[:, k : k + 1], size)[0, 0]
        found[plane > best] = k
        best = torch.maximum(best, plane)
    return found.numpy()


def write_predictions(
    folder: Path,
    name: str,
    photograph: NDArray[np.uint8],
    predictions: Predictions,
    tasks: Sequence[Task],
    class_names: Mapping[str, Sequence[str]],
) -> list[Path]:
    """Write `<name>-<task>.png`, exact values as `<name>-<task>.npy`, and `<name>-sheet.png`; return the paths.

    In the PNG of a class map, pixel values are the classes, and the palette has their colours. Depth is in 16-bit
    millimetres, normals are colours (red right, green up, blue to the viewer), probabilities 8-bit grey, disparities
    and other numbers colours from the smallest to the largest. Classes have no .npy, because their PNG is exact.
    """
    paths, rows = [], []
    for task in tasks:
        values = predictions[task.name]
        picture, row = _shown(task, values, class_names.get(task.name, ()))
        rows.append(row)
        paths.append(folder / f"{name}-{task.name}.png")
        with replacing(paths[-1]) as temporary:
            picture.save(temporary)
        if not task.classifies:
            paths.append(folder / f"{name}-{task.name}.npy")
            write_array(paths[-1], values)
    paths.append(folder / f"{name}-sheet.png")
    with replacing(paths[-1]) as temporary:
        drawn(name, photograph, rows).save(temporary)
    return paths


def _shown(task: Task, values: NDArray[Any], names: Sequence[str]) -> tuple[Image.Image, Row]:
    """The image of one task's prediction, and the task's row of the sheet, which has the photograph on top."""

    def row(picture: RGB, **more: Any) -> Row:
        return Row((task.label,), (picture,), **more)

    if task.classifies:
        colours = class_colours(task.channels)
        picture = Image.fromarray(values)
        picture.putpalette(colours.tobytes())
        return picture, row(colours[values], legend=class_legend(np.unique(values), task.channels, names))
    if task.kind == "depth" and not task.disparity:
        low, high = float(values.min()), float(values.max())
        millimetres = (np.nan_to_num(values) * 1000).round().clip(0, 2**16 - 1).astype(np.uint16)
        return Image.fromarray(millimetres), row(coloured(values, low, high), bar=f"{low:.1f} m to {high:.1f} m")
    if task.kind in UNITS:
        low, high = float(values.min()), float(values.max())
        picture = coloured(values, low, high)
        return Image.fromarray(picture), row(picture, bar=f"{low:.4g} to {high:.4g} {task.unit}".rstrip())
    picture = direction(values.transpose(2, 0, 1)) if task.kind == "normals" else grey(values)
    return Image.fromarray(picture if task.kind == "normals" else picture[..., 0]), row(picture)
