"""Regression: errors pooled over all valid pixels of all images, in the unit of the data set's values.

- `rmse` = sqrt(mean (p - t)^2);
- `abs_error` = mean |p - t|.

A non-finite prediction makes both NaN.
"""

from typing import TYPE_CHECKING

import numpy as np

from mtcp.core.tasks import VOID
from mtcp.metrics.meter import Meter, Statistics, non_finite, over_strips, per_image

if TYPE_CHECKING:
    from torch import Tensor


class RegressionMeter(Meter):
    """Sums `squared` and `absolute` (float64) and `pixels`, each (images,)."""

    def update(self, prediction: "Tensor", target: "Tensor") -> Statistics:
        self.task.require_shapes(prediction, target)
        return over_strips(self._sums, prediction, target)

    def _sums(self, prediction: "Tensor", target: "Tensor") -> Statistics:
        valid, broken = target != VOID, non_finite(prediction)
        # Multiplying by 0 would keep NaN.
        difference = (prediction.float() - target.float()).masked_fill(~valid, 0)
        return {
            "squared": per_image(difference.square()),
            "absolute": per_image(difference.abs()),
            "pixels": per_image(valid),
            "non_finite": per_image(broken),
        }

    def compute(self, statistics: Statistics) -> dict[str, float]:
        pixels = statistics["pixels"].sum()
        if not pixels:
            return {"rmse": float("nan"), "abs_error": float("nan")}
        return {
            "rmse": float(np.sqrt(statistics["squared"].sum() / pixels)),
            "abs_error": float(statistics["absolute"].sum() / pixels),
        }
