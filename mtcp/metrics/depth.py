"""Depth: errors pooled over all valid pixels of all images.

- `rmse` = sqrt(mean (d - t)^2) in metres;
- `log_rmse` = sqrt(mean (ln d - ln t)^2), natural logarithm;
- `abs_error` = mean |d - t| in metres, `rel_error` = mean |d - t| / t, of the raw output, which may be negative;
- `within_1_25`, `within_1_25_2`, `within_1_25_3`: per cent of pixels with max(d / t, t / d) < 1.25, 1.25^2, 1.25^3
  (Eigen, Puhrsch and Fergus, NeurIPS 2014);
- `rmse_capped`, `log_rmse_capped`: the same over pixels with true depth below `cap` (6.5535 m in MTFormer's and
  MT-CP's released code). Capped and uncapped values are not comparable.

For all but `abs_error` and `rel_error`, predictions below 1e-9 m are first set to 1e-9 m, as in Vandenhende et al.'s
code. A non-finite prediction makes the errors NaN and is outside every `within_*`.
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from mtcp.core.tasks import VOID, Task
from mtcp.metrics.meter import Meter, Statistics, non_finite, over_strips, per_image

if TYPE_CHECKING:
    from torch import Tensor

NEAREST: Final = 1e-9
WITHIN: Final = {"within_1_25": 1.25, "within_1_25_2": 1.25**2, "within_1_25_3": 1.25**3}


class DepthMeter(Meter):
    """Sums `squared`, `log_squared` (float64) and `pixels`, also `_capped`; `absolute`, `relative`; counts `within_*`.

    Each has shape (images,).
    """

    def __init__(self, task: Task, cap: float) -> None:
        super().__init__(task)
        self.cap = cap

    def update(self, prediction: "Tensor", target: "Tensor") -> Statistics:
        self.task.require_shapes(prediction, target)
        return over_strips(self._sums, prediction, target)

    def _sums(self, prediction: "Tensor", target: "Tensor") -> Statistics:
        import torch

        target, broken = target.float(), non_finite(prediction)
        # Masks are float32 factors: multiplying is faster than selecting.
        valid, near = target.clone().ne_(VOID), target.clone().lt_(self.cap)
        raw = prediction.float()
        if broken.any():
            # At void pixels (target 255) a non-finite prediction is replaced by 1, so that it has no effect.
            raw = raw.masked_fill(broken[:, None], torch.nan).where(valid > 0, 1)
        absolute = (raw - target).abs_().mul_(valid)
        depth = raw.clamp(min=NEAREST)
        ratio = torch.maximum(depth / target, target / depth)
        within = {name: per_image((ratio < limit) & (valid > 0)) for name, limit in WITHIN.items()}
        squared = (depth - target).square_().mul_(valid)
        log_squared = depth.div_(target).log_().square_().mul_(valid)
        return {
            "squared": per_image(squared),
            "log_squared": per_image(log_squared),
            "pixels": per_image(valid).astype(np.int64),
            "squared_capped": per_image(squared.mul_(near)),
            "log_squared_capped": per_image(log_squared.mul_(near)),
            "pixels_capped": per_image(near.mul_(valid)).astype(np.int64),
            "absolute": per_image(absolute),
            "relative": per_image(absolute.div_(target)),
            **within,
            "non_finite": per_image(broken),
        }

    def compute(self, statistics: Statistics) -> dict[str, float]:
        def root(name: str, suffix: str) -> float:
            pixels = statistics[f"pixels{suffix}"].sum()
            return float(np.sqrt(statistics[name + suffix].sum() / pixels)) if pixels else float("nan")

        pixels = statistics["pixels"].sum()

        def mean(name: str) -> float:
            return float(statistics[name].sum() / pixels) if pixels else float("nan")

        return {
            "rmse": root("squared", ""),
            "log_rmse": root("log_squared", ""),
            "rmse_capped": root("squared", "_capped"),
            "log_rmse_capped": root("log_squared", "_capped"),
            "abs_error": mean("absolute"),
            "rel_error": mean("relative"),
            **{name: 100 * mean(name) for name in WITHIN},
        }
