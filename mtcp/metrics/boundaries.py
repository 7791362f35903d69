"""Boundaries: ODS-F, OIS-F and AP of the BSDS benchmark, without MATLAB.

Per image: the probability map is reduced to its ridges (`suppression`) and thresholded at k / 100, k = 1 ... 99. Each
binary map is thinned to lines (`thinning`), and its pixels are matched one to one with those of the ground truth, which
is thinned as well, within `tolerance` times the image's diagonal (`matching`). A pixel is predicted where
probability >= threshold.

With P = matched predicted / predicted, R = matched true / true, F = 2PR / (P + R), all counts pooled over images:

- `ods_f`: the largest F over thresholds shared by all images (P and R are interpolated linearly between thresholds);
- `ois_f`: F of the counts pooled at each image's best threshold;
- `ap`: area under P as a function of R, interpolated linearly at R = 0, 0.01 ... 1. P is 0 outside the range of R that
  the thresholds reach, so a map with few distinct values has a low AP however good it is. Where several thresholds
  have the same R, the largest P is used.

Source: Arbeláez, Maire, Fowlkes and Malik, PAMI 2011, and the conventions of its benchmark code. The tolerance is
0.0075 for BSDS and 0.011 for NYUD. With several annotators, a predicted pixel is matched if it is matched in any
annotator's map, and the true pixels of all annotators are pooled.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mtcp.core.tasks import VOID, Task
from mtcp.metrics.matching import matched, pairs_within
from mtcp.metrics.meter import Meter, Statistics, non_finite, per_image
from mtcp.metrics.saliency import check_binary
from mtcp.metrics.suppression import suppress
from mtcp.metrics.thinning import stack_levels, thin, unstack

if TYPE_CHECKING:
    from torch import Tensor

THRESHOLDS: Final = np.arange(1, 100) / 100


def boundary_counts(
    strength: np.ndarray, truths: Sequence[np.ndarray], tolerance: float, thresholds: np.ndarray = THRESHOLDS
) -> Statistics:
    """Return the counts of one image: probabilities (H, W) against the boolean maps (H, W) of its annotators.

    `tolerance` is a fraction of the diagonal. Keys: `predicted`, `matched_predicted`, `matched_true` (T,) per
    threshold; `true` (); all int32.
    """
    levels = len(thresholds)
    ridges = suppress(strength, thresholds[0])
    # Thresholds in float32, so that a float32 probability of 0.3 reaches the threshold 0.3.
    words = thin(stack_levels(np.searchsorted(thresholds.astype(np.float32), ridges, side="right"), levels))
    somewhere = np.asarray(words.any(axis=2))
    cuts = unstack(words[somewhere], levels)
    distance = tolerance * float(np.hypot(*strength.shape))
    found = np.zeros_like(cuts)
    matched_true, true = np.zeros(levels, dtype=np.int32), 0
    for truth in truths:
        lines = thin(truth.astype(np.uint64)[..., None])[..., 0] > 0
        hits = matched(pairs_within(somewhere, lines, distance), cuts, int(lines.sum()))
        found |= hits
        matched_true += hits.sum(axis=0, dtype=np.int32)
        true += int(lines.sum())
    return {
        "predicted": cuts.sum(axis=0, dtype=np.int32),
        "matched_predicted": found.sum(axis=0, dtype=np.int32),
        "matched_true": matched_true,
        "true": np.array(true, np.int32),
    }


def _image_counts(arguments: tuple[np.ndarray, np.ndarray, float]) -> Statistics:
    strength, truth, tolerance = arguments
    return boundary_counts(strength, [truth], tolerance)


class BoundaryMeter(Meter):
    """Counts of `boundary_counts` per image; pixels without annotation are neither predicted nor true.

    `map_images` maps a function over the images of a batch: `map`, or the `map` of a process pool.
    """

    def __init__(self, task: Task, tolerance: float, map_images: Callable[..., Any] = map) -> None:
        super().__init__(task)
        self.tolerance = tolerance
        self.map_images = map_images

    def update(self, prediction: "Tensor", target: "Tensor") -> Statistics:
        self.task.require_shapes(prediction, target)
        check_binary(self.task.name, target)
        broken = non_finite(prediction)[:, None]
        strength = prediction.float().sigmoid().masked_fill(broken | (target == VOID), 0)[:, 0].cpu().numpy()
        truth = (target == 1)[:, 0].cpu().numpy()
        images = list(
            self.map_images(_image_counts, [(s, t, self.tolerance) for s, t in zip(strength, truth, strict=True)])
        )
        counts = {name: np.stack([image[name] for image in images]) for name in images[0]}
        return {**counts, "non_finite": per_image(broken)}

    def compute(self, statistics: Statistics) -> dict[str, float]:
        return boundary_scores(statistics)


def boundary_scores(statistics: Statistics) -> dict[str, float]:
    """Return `ods_f`, `ois_f` and `ap` of counts as returned by `boundary_counts`, images along the first axis."""
    if not statistics["true"].sum():
        return dict.fromkeys(("ods_f", "ois_f", "ap"), float("nan"))
    predicted, matched_predicted, matched_true = (
        statistics[name].astype(float) for name in ("predicted", "matched_predicted", "matched_true")
    )
    true = statistics["true"].astype(float)[:, None]
    precision = _ratio(matched_predicted.sum(0), predicted.sum(0))
    recall = _ratio(matched_true.sum(0), true.sum(0))
    per_image_f = _f(_ratio(matched_predicted, predicted), _ratio(matched_true, true))
    best = (np.arange(len(true)), per_image_f.argmax(axis=1))
    ois = _f(
        _ratio(matched_predicted[best].sum(), predicted[best].sum()),
        _ratio(matched_true[best].sum(), true.sum()),
    )
    return {
        "ods_f": float(_f(_between(precision), _between(recall)).max()),
        "ois_f": float(ois),
        "ap": _average_precision(precision, recall),
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, with 0/0 = 0."""
    return part / np.maximum(whole, 1)


def _f(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    return 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)


def _between(values: np.ndarray) -> np.ndarray:
    """Return `values` (T,) interpolated linearly, with 100 steps between neighbours."""
    places = np.linspace(0, len(values) - 1, 100 * (len(values) - 1) + 1)
    return np.interp(places, np.arange(len(values)), values)


def _average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    order = np.lexsort((-precision, recall))
    recall, best = np.unique(recall[order], return_index=True)
    grid = np.linspace(0, 1, 101)
    return float(np.interp(grid, recall, precision[order][best], left=0, right=0).sum() / 100)
