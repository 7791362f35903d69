"""Surface normals: the angle between prediction and ground truth, pooled over all valid pixels of all images.

angle = atan2(|p x t|, p . t) in degrees, on the floating-point output. Lengths do not matter; a zero vector has an
error of 90 degrees. The arc cosine of a float32 product would be off by 0.02 degrees near 0.

`mean`, `median` (mean of the two central angles, to half a bin: 0.005 degrees) and `rmse` in degrees; `within_11_25`,
`within_22_5`, `within_30`: per cent of pixels with a smaller angle than that (Eigen and Fergus, ICCV 2015).
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from mtcp.core.tasks import VOID
from mtcp.metrics.meter import Meter, Statistics, non_finite, over_strips, per_image

if TYPE_CHECKING:
    from torch import Tensor

BIN: Final = 0.01
BINS: Final = 18_000
WITHIN: Final = {"within_11_25": 11.25, "within_22_5": 22.5, "within_30": 30.0}
_DIGIT: Final = 256
_TINY: Final = 1e-30


class NormalsMeter(Meter):
    """Sums `angle`, `angle_squared` (float64) and `pixels`, each (images,), and a histogram.

    The histogram of angles, in bins of 0.01 degrees, is stored in base 256: `bins_1` (images, 18000), uint8, is the
    lower digit; each entry of `bins_256` (images, any), uint16, is the index of a bin with 256 more pixels (65535:
    none). At 480x640 this takes at most 21 kB per image, where plain counts take 72 kB.
    """

    def update(self, prediction: "Tensor", target: "Tensor") -> Statistics:
        self.task.require_shapes(prediction, target)
        sums = over_strips(_sums, prediction, target)
        return _in_base_256(sums.pop("histogram")) | sums

    def compute(self, statistics: Statistics) -> dict[str, float]:
        pixels = statistics["pixels"].sum()
        if not pixels:
            return dict.fromkeys(("mean", "median", "rmse", *WITHIN), float("nan"))
        upto = _counts(statistics).cumsum()
        central = np.searchsorted(upto, [(pixels - 1) // 2, pixels // 2], side="right")
        return {
            "mean": float(statistics["angle"].sum() / pixels),
            "median": float(BIN * (central.mean() + 0.5)),
            "rmse": float(np.sqrt(statistics["angle_squared"].sum() / pixels)),
            **{name: float(100 * upto[round(limit / BIN) - 1] / pixels) for name, limit in WITHIN.items()},
        }


def _sums(prediction: "Tensor", target: "Tensor") -> Statistics:
    import torch

    valid = target[:, 0].float().clone().ne_(VOID)
    broken = non_finite(prediction)
    (p0, p1, p2), (t0, t1, t2) = prediction.float().unbind(1), target.float().unbind(1)
    x, y, z = p1 * t2 - p2 * t1, p2 * t0 - p0 * t2, p0 * t1 - p1 * t0
    dot = p0 * t0 + p1 * t1 + p2 * t2
    across = x.square_().add_(y.square_()).add_(z.square_()).sqrt_()
    # atan2(0, 0) is 0, but a zero vector is as far from the truth as from its opposite: 90 degrees.
    angle = torch.atan2(across.add_(_TINY), dot).mul_(180 / torch.pi)
    if broken.any():
        angle = angle.masked_fill(broken, 180)
    angle *= valid
    pixels = per_image(valid).astype(np.int64)
    return {
        "angle": per_image(angle),
        "angle_squared": per_image(angle.square()),
        "pixels": pixels,
        "histogram": _histogram(angle, pixels),
        "non_finite": per_image(broken),
    }


def _histogram(angle: "Tensor", pixels: np.ndarray) -> np.ndarray:
    """Return (B, 18000): how many of the valid `pixels` (B,) have an angle in each bin; invalid pixels have angle 0."""
    import torch

    batch = len(angle)
    # Exactly 180 degrees belongs to the last bin.
    bins = (angle * (1 / BIN)).int().clamp_(max=BINS - 1)
    bins += torch.arange(batch, device=bins.device, dtype=torch.int32)[:, None, None] * BINS
    counts = torch.bincount(bins.flatten(), minlength=batch * BINS).reshape(batch, BINS).cpu().numpy()
    counts[:, 0] -= angle[0].numel() - pixels
    return counts


def _in_base_256(counts: np.ndarray) -> Statistics:
    repeats = [np.repeat(np.arange(BINS, dtype=np.uint16), row // _DIGIT) for row in counts]
    further = np.full((len(counts), max(map(len, repeats))), np.iinfo(np.uint16).max, dtype=np.uint16)
    for row, entries in zip(further, repeats, strict=True):
        row[: len(entries)] = entries
    return {"bins_1": (counts % _DIGIT).astype(np.uint8), "bins_256": further}


def _counts(statistics: Statistics) -> np.ndarray:
    """Return the pooled histogram (18000,)."""
    further = statistics["bins_256"]
    return statistics["bins_1"].sum(0, dtype=np.int64) + _DIGIT * np.bincount(further[further < BINS], minlength=BINS)
