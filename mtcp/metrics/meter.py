"""The interface of meters: predictions and targets give sufficient statistics per image; these give the metrics."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import reduce
from typing import TYPE_CHECKING, Final

import numpy as np

from mtcp.core.errors import UserError
from mtcp.core.tasks import Task

if TYPE_CHECKING:
    from torch import Tensor

#: Arrays by name; the first axis counts images.
Statistics = dict[str, np.ndarray]


#: Pixels per strip: 128 kB of float32.
_STRIP: Final = 32768


class ImageError(UserError):
    """An input that cannot be evaluated, at position `index` of its batch; a caller that knows the image id adds it."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


class Meter(ABC):
    """Evaluates one task. Stateless: `update` is a pure function, so batch size and order do not matter.

    A pixel with a non-finite prediction is never left out. Where there is a worst value, it gets that value (no class,
    180 degrees, no salient object, no boundary); errors of depth and regression become NaN. The statistic `non_finite`
    counts these pixels.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    @abstractmethod
    def update(self, prediction: "Tensor", target: "Tensor") -> Statistics:
        """Return the statistics of a batch: prediction (B, C, H, W), target of equal size as in `mtcp.core.tasks`.

        Raises `UserError` for shapes that do not match, `ImageError` for a target outside its range.
        """

    @abstractmethod
    def compute(self, statistics: Statistics) -> dict[str, float]:
        """Return the metrics over all images in `statistics`; NaN where there is nothing to evaluate."""


class Gathering:
    """Collects the statistics of batches in a few arrays, which double in size when they are full.

    If each batch's small arrays were kept separately, they would lie between large temporary tensors and fragment the C
    library's heap, which would grow by megabytes per image instead of kilobytes.
    """

    def __init__(self) -> None:
        self._arrays: Statistics = {}
        self._images = 0

    def add(self, part: Statistics) -> None:
        """Append the images of `part`; trailing axes of unequal length are padded with the dtype's maximum."""
        begin, self._images = self._images, self._images + len(next(iter(part.values())))
        for name, values in part.items():
            kept = self._arrays.get(name, values[:0])
            width = tuple(map(max, kept.shape[1:], values.shape[1:]))
            if len(kept) < self._images or kept.shape[1:] != width:
                larger = np.empty((max(self._images, 2 * len(kept)), *width), dtype=values.dtype)
                _fill(larger[:begin], kept[:begin])
                kept = self._arrays[name] = larger
            _fill(kept[begin : self._images], values)

    def statistics(self) -> Statistics:
        """Return the statistics of all images so far; raises `UserError` where there are none."""
        if not self._images:
            raise no_images()
        return {name: array[: self._images] for name, array in self._arrays.items()}


def no_images() -> UserError:
    """The error of an empty test split."""
    return UserError("there is no image to evaluate: the test split is empty; check the data set's lists")


def merge(parts: Iterable[Statistics]) -> Statistics:
    """Concatenate statistics along the images with `Gathering`; raises `UserError` where there are no images."""
    gathered = Gathering()
    for part in parts:
        gathered.add(part)
    return gathered.statistics()


def select(statistics: Statistics, images: np.ndarray) -> Statistics:
    """Return the statistics of `images`, an array of positions (repeats count repeatedly) or of booleans."""
    return {name: values[images] for name, values in statistics.items()}


def non_finite(prediction: "Tensor") -> "Tensor":
    """Return (B, H, W): True where any channel is NaN or infinite; (B, 1, 1) of False where none is."""
    import torch

    # A sum is finite only if all its terms are, and is a hundred times faster than checking each.
    if torch.isfinite(prediction.sum()):
        return torch.zeros(len(prediction), 1, 1, dtype=torch.bool, device=prediction.device)
    return ~torch.isfinite(prediction).all(dim=1)


def per_image(values: "Tensor") -> np.ndarray:
    """Sum (B, ..., W) over all but the first axis, as NumPy (B,): booleans are counted, other values summed.

    The last axis is summed in float32 (pairwise, with an error near 1e-7), the others in float64.
    """
    import torch

    if values.dtype == torch.bool:
        return torch.count_nonzero(values.flatten(1), dim=1).cpu().numpy()
    return values.sum(-1).double().flatten(1).sum(1).cpu().numpy()


def over_strips(
    count: Callable[["Tensor", "Tensor"], Statistics], prediction: "Tensor", target: "Tensor"
) -> Statistics:
    """Return the sum of `count(prediction, target)` over strips of rows; on a GPU the whole batch is one strip.

    A strip's intermediate results stay in the processor's cache, and are small enough that the C library does not
    return their memory to the system after each operation; getting the pages back costs as much as a metric.
    """
    height, width = prediction.shape[-2:]
    rows = height if prediction.is_cuda else max(1, _STRIP // (len(prediction) * width))
    strips = [slice(top, top + rows) for top in range(0, height, rows)]
    parts = [count(prediction[..., strip, :], target[..., strip, :]) for strip in strips]
    return {name: reduce(np.add, (part[name] for part in parts)) for name in parts[0]}


def _fill(place: np.ndarray, values: np.ndarray) -> None:
    if place.shape != values.shape:
        place[...] = np.iinfo(place.dtype).max
    place[tuple(map(slice, values.shape))] = values
