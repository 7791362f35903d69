"""Batches from a data set on disk.

A split is decoded once at network size, into memory or a packed file, and augmented batch by batch. Every random draw
is a pure function of (benchmark, seed, purpose, epoch, image id), so batches do not depend on resuming or on the
method.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mtcp.core.errors import UserError
from mtcp.core.images import IMAGENET_MEAN, IMAGENET_STD
from mtcp.core.randomness import stream
from mtcp.core.run_config import RunConfig, batches_per_epoch
from mtcp.core.tasks import CLASSES, VOID, Task
from mtcp.data.formats.layouts import Layout
from mtcp.data.formats.opening import open_layout
from mtcp.data.loading.augment import augment, draw_transform
from mtcp.data.loading.cache import packed
from mtcp.data.loading.scale_crop import draw_crop, scale_crop

SplitName = Literal["train", "validation", "test"]
_IN_MEMORY: Final = 512 * 2**20


#: Stored dtype and channels of an image and of each kind of target; float16 gives normals an error below 0.03°.
_FORMS: Final = {
    "image": (np.uint8, 3),
    "semseg": (np.uint8, 1),
    "human_parts": (np.uint8, 1),
    "depth": (np.float32, 1),
    "sal": (np.uint8, 1),
    "normals": (np.float16, 3),
    "edge": (np.uint8, 1),
    "regression": (np.float32, 1),
}


@dataclass(frozen=True)
class Batch:
    """Some images with their targets; shapes and void as in `mtcp.core.tasks`, images ImageNet-normalised."""

    ids: tuple[str, ...]
    image: Tensor
    targets: dict[str, Tensor]

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on `device`; the copy is asynchronous from pinned memory."""
        return Batch(
            self.ids,
            self.image.to(device, non_blocking=True),
            {name: target.to(device, non_blocking=True) for name, target in self.targets.items()},
        )


@dataclass(frozen=True)
class Split:
    """The images of one split: `ids` in a fixed order, read through `layout`."""

    name: SplitName
    ids: tuple[str, ...]
    layout: Layout
    config: RunConfig

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def records(self) -> NDArray[np.void]:
        """All images at network size as a structured array with a field (C, H, W) for "image" and for each task.

        Small splits are kept in memory; larger ones are packed once into a memory-mapped file, which all runs on this
        machine share.
        """
        size = self.config.height, self.config.width
        kinds = {"image": "image", **self.config.kinds}
        forms = {name: _FORMS[kind] for name, kind in kinds.items()}
        kind = np.dtype([(name, stored, (channels, *size)) for name, (stored, channels) in forms.items()])

        def fill(records: NDArray[np.void]) -> None:
            for record, image_id in zip(records, self.ids, strict=True):
                for name, array in _sample(self.layout, self.config, image_id).items():
                    record[name] = _to_nchw(resize(kinds[name], array, *size))

        if kind.itemsize * len(self) > _IN_MEMORY:
            return packed(
                self.layout, self.ids, tuple(self.config.kinds), kind, f"{self.name}-{size[0]}x{size[1]}", fill
            )
        records = np.empty(len(self), kind)
        fill(records)
        return records

    @cached_property
    def aspects(self) -> list[float]:
        """Original width divided by height of every image."""
        size = self.layout.packaging.get("size")
        sizes = [size] * len(self) if size else [self.layout.image_size(image_id) for image_id in self.ids]
        return [width / height for height, width in sizes]


def open_split(config: RunConfig, folder: Path, split: SplitName) -> Split:
    """Open a split of the benchmark's data in `folder`.

    `test` is the layout's validation list. A share `config.validation_share` of the layout's training list, the same
    for every seed and method, is `validation`; the rest is `train`. Raises `UserError` for missing data or an empty
    split.
    """
    semseg = config.tasks.get("semseg")
    layout = open_layout(config.layout, folder, semseg.classes if semseg else None)
    ids = layout.ids("val" if split == "test" else "train")
    if split != "test" and config.validation_share:
        key = stream(config.benchmark, "validation")
        shuffled = sorted(ids, key=lambda image_id: stream(key, image_id))
        chosen = frozenset(shuffled[: round(config.validation_share * len(ids))])
        count, ids = len(ids), tuple(image_id for image_id in ids if (image_id in chosen) == (split == "validation"))
        if not ids:
            raise UserError(
                f"config/benchmarks/{config.benchmark}.yaml, key 'validation_share': {config.validation_share} of "
                f"{count} training images leaves none to '{split}': change it, or use 0 for no validation split"
            )
    return Split(split, ids, layout, config)


def require_readable(split: Split, images: int = 16) -> None:
    """Read some images with their targets, evenly spaced; raises `UserError` for the first that training refuses."""
    for place in np.linspace(0, len(split) - 1, min(images, len(split))).round().astype(int):
        _sample(split.layout, split.config, split.ids[place])


def steps_per_epoch(split: Split, config: RunConfig) -> int:
    """Forward passes per epoch; raises `UserError` where the split has less than a batch (`batches_per_epoch`)."""
    return batches_per_epoch(config, split.name, len(split))


def training_batches(
    split: Split,
    config: RunConfig,
    epoch: int,
    start: int = 0,
    device: torch.device | str = "cpu",
    share: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """Yield the batches of one epoch on `device`, augmented there, from step `start` on.

    `share` (r, N): only B / N images of every batch of B, from image number r B / N on.
    """
    steps = _Epoch(split, config, epoch, share)
    loader = torch.utils.data.DataLoader(
        steps, batch_size=None, sampler=range(start, len(steps)),
        pin_memory=torch.device(device).type == "cuda",
    )  # fmt: skip
    for raw in loader:
        yield _augmented(raw, config, epoch, device)


@dataclass(frozen=True)
class _Raw:
    """The images of one batch as stored: `planes` (B, C, H, W) by name."""

    ids: tuple[str, ...]
    aspects: tuple[float, ...]
    planes: dict[str, Tensor]

    def pin_memory(self) -> "_Raw":
        """Return the batch in page-locked memory (called by torch's loader)."""
        return _Raw(self.ids, self.aspects, {name: plane.pin_memory() for name, plane in self.planes.items()})


class _Epoch(torch.utils.data.Dataset):
    """The batches of one epoch by step, or a share of each, in the order drawn for it."""

    def __init__(self, split: Split, config: RunConfig, epoch: int, share: tuple[int, int]) -> None:
        self.split, self.size, self.share = split, config.training.batch_size, share
        self.steps = steps_per_epoch(split, config)
        generator = np.random.Generator(np.random.PCG64(stream(config.benchmark, config.seed, "order", epoch)))
        self.order = generator.permutation(len(split))

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> _Raw:
        chosen = np.sort(self.order[step * self.size : (step + 1) * self.size])
        rank, parts = self.share
        count = len(chosen) // parts
        chosen = chosen[rank * count : (rank + 1) * count]
        return _Raw(
            tuple(self.split.ids[k] for k in chosen),
            tuple(self.split.aspects[k] for k in chosen),
            _stored(self.split.records, chosen),
        )


def _augmented(raw: _Raw, config: RunConfig, epoch: int, device: torch.device | str) -> Batch:
    parts = config.benchmark, config.seed, "augmentation", epoch
    planes = {name: plane.to(device, non_blocking=True) for name, plane in raw.planes.items()}
    image, kinds = planes.pop("image"), config.kinds
    if config.augmentation.policy == "scale_crop":
        crops = [draw_crop(stream(*parts, image_id), *image.shape[-2:]) for image_id in raw.ids]
        return _batch(raw.ids, *scale_crop(image, planes, kinds, crops, config.augmentation.zoom_depth), kinds)
    transforms = [
        draw_transform(config.augmentation.policy, stream(*parts, image_id), aspect, config.augmentation.zoom_depth)
        for image_id, aspect in zip(raw.ids, raw.aspects, strict=True)
    ]
    return _batch(raw.ids, *augment(image, planes, kinds, transforms), kinds)


def drawn_batch(split: Split, config: RunConfig, number: int) -> Batch:
    """Return random batch `number` of a split, not augmented, at network size, for schemes that learn from it."""
    generator = np.random.Generator(np.random.PCG64(stream(config.benchmark, config.seed, split.name, number)))
    size = min(config.training.batch_size, len(split))
    chosen = np.sort(generator.choice(len(split), size, replace=False))
    planes = _stored(split.records, chosen)
    return _batch(tuple(split.ids[k] for k in chosen), planes.pop("image"), planes, config.kinds)


def evaluation_batches(split: Split, config: RunConfig, limit: int | None = None) -> Iterator[Batch]:
    """Yield every image once, in order, not augmented: the image at network size, targets at the original size.

    Batches have at most `limit` images (None: `evaluation.batch_size`), all of the same original size.
    """
    size = [config.height, config.width]
    limit = limit or config.evaluation.batch_size
    if split.layout.packaging.get("size") == size:
        for first in range(0, len(split), limit):
            planes = _stored(split.records, slice(first, first + limit))
            yield _batch(split.ids[first : first + limit], planes.pop("image"), planes, config.kinds)
        return
    samples = ((image_id, _sample(split.layout, config, image_id)) for image_id in split.ids)
    for _, group in groupby(samples, key=lambda entry: entry[1]["image"].shape):
        waiting: list[tuple[str, dict[str, NDArray[Any]]]] = []
        for entry in group:
            waiting.append(entry)
            if len(waiting) == limit:
                yield _evaluation_batch(waiting, config)
                waiting = []
        if waiting:
            yield _evaluation_batch(waiting, config)


def _evaluation_batch(samples: list[tuple[str, dict[str, NDArray[Any]]]], config: RunConfig) -> Batch:
    for _, sample in samples:
        sample["image"] = resize("image", sample["image"], config.height, config.width)
    names = samples[0][1]
    planes = {name: torch.from_numpy(np.stack([_to_nchw(sample[name]) for _, sample in samples])) for name in names}
    return _batch(tuple(image_id for image_id, _ in samples), planes.pop("image"), planes, config.kinds)


def network_input(image: NDArray[np.uint8], height: int, width: int) -> Tensor:
    """Return a photograph (H, W, 3) as network input (1, 3, height, width), prepared like images of the test split."""
    planes = torch.from_numpy(_to_nchw(resize("image", image, height, width))[None].copy())
    return normalised(planes.float())


def _batch(ids: tuple[str, ...], image: Tensor, targets: dict[str, Tensor], kinds: Mapping[str, str]) -> Batch:
    """Normalise images, in place if they are float32, and convert targets to the dtypes of `mtcp.core.tasks`."""
    typed = {
        name: target[:, 0].long() if kinds[name] in CLASSES else target.float() for name, target in targets.items()
    }
    return Batch(ids, normalised(image.float()), typed)


def normalised(image: Tensor) -> Tensor:
    """Normalise float32 images (B, 3, H, W) in [0, 255] in place, and return them."""
    for plane, mean, std in zip(image.unbind(1), IMAGENET_MEAN, IMAGENET_STD, strict=True):
        plane.sub_(255 * mean).div_(255 * std)
    return image


def _stored(records: NDArray[np.void], chosen: NDArray[np.int64] | slice) -> dict[str, Tensor]:
    """Copy the fields of the chosen records to tensors."""
    return {name: torch.from_numpy(np.array(records[name][chosen])) for name in records.dtype.names or ()}


def _to_nchw(array: NDArray[Any]) -> NDArray[Any]:
    """(H, W) or (H, W, C) -> (C, H, W)."""
    return np.moveaxis(array, -1, 0) if array.ndim == 3 else array[None]


def _sample(layout: Layout, config: RunConfig, image_id: str) -> dict[str, NDArray[Any]]:
    """Read an image and its targets at their original size; raises `UserError` where a target does not match."""
    image = layout.image(image_id)
    sample = {"image": image}
    for task in config.task_list:
        target = layout.target(task.name, image_id)
        _check(task, target, image, image_id)
        sample[task.name] = target
    return sample


def _check(task: Task, target: NDArray[Any], image: NDArray[np.uint8], image_id: str) -> None:
    if target.shape[:2] != image.shape[:2]:
        raise UserError(
            f"image '{image_id}': {task.name} is {target.shape[0]}x{target.shape[1]}, the image "
            f"{image.shape[0]}x{image.shape[1]}: they must agree; import the data set again"
        )
    if task.classifies:
        highest = int(target[target != VOID].max(initial=0))
        if highest >= task.channels:
            raise UserError(
                f"image '{image_id}': {task.name} has class {highest}, the benchmark declares {task.channels} classes "
                f"(0..{task.channels - 1}, {VOID} void): correct tasks.{task.name}.classes or the label map"
            )


def resize(kind: str, array: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Resize one image (bicubic, antialiased) or target (nearest; for boundaries see `_resize_boundaries`).

    `kind` is "image", or the kind of the target's task.
    """
    if array.shape[:2] == (height, width):
        return array
    if kind == "image":
        return np.asarray(Image.fromarray(array).resize((width, height), Image.Resampling.BICUBIC))
    if kind == "edge":
        return _resize_boundaries(array, height, width)
    return _nearest(array, height, width)


def _nearest(array: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    rows = ((np.arange(height) + 0.5) * array.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * array.shape[1] / width).astype(np.intp)
    return array[rows[:, None], columns[None, :]]


def _resize_boundaries(edges: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize boundaries (H, W): a pixel is a boundary if any input pixel in it is; void is that of the nearest pixel.

    Nearest-neighbour sampling would break lines of one pixel's width. It is used only along an axis that is enlarged.
    """
    lines = edges == 1
    for axis, size in ((0, height), (1, width)):
        if size < edges.shape[axis]:
            # Input pixel k lies in output pixel floor((k + 1/2) size / length): find the first k of each output pixel.
            first = np.ceil(np.arange(size) * edges.shape[axis] / size - 0.5).astype(np.intp)
            lines = np.logical_or.reduceat(lines, first, axis=axis)
        else:
            lines = _nearest(lines, *((size, lines.shape[1]) if axis == 0 else (lines.shape[0], size)))
    return np.where(lines, np.uint8(1), np.where(_nearest(edges, height, width) == VOID, np.uint8(VOID), np.uint8(0)))
