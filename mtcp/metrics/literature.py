"""Metrics as the loss-weighting literature computes them, under separate names.

Its tables (NYUv2 with 13 classes, Cityscapes with 7) come from code derived from lorenmt/mtan: Liu, Johns and Davison,
CVPR 2019; CAGrad, Liu et al., NeurIPS 2021; Nash-MTL, Navon et al., ICML 2022; FAMO, Liu et al., NeurIPS 2023.

- Errors are averaged over *test batches*: a batch of b consecutive images gives (sum of errors) / (number of valid
  pixels), and tables show the mean of these values. `BatchMeans` computes it from statistics per image, under the
  metric's name with the suffix `_batches`. Images in a smaller last batch, or with few valid pixels, weigh more.
- `delta_m_fixed_base`: 100/M sum_m (-1)^{s_m} (x_m - b_m) / b_m, s_m = 1 where higher is better: **lower** is better.
  The base b is CAGrad's single-task SegNet (`BASES`), whatever network is evaluated.
- `delta_p`: the mean over tasks of the mean over each task's metrics, **higher** is better (LibMTL, DB-MTL).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from mtcp.core.errors import UserError
from mtcp.metrics.meter import Meter, Statistics, select
from mtcp.metrics.multi_task import delta_m_per_metric, delta_m_pooled

if TYPE_CHECKING:
    from torch import Tensor

#: The suffix of metrics that are means over test batches.
BATCHES: Final = "_batches"
#: The metrics that the literature averages over batches; segmentation metrics come from one confusion matrix.
AVERAGED: Final = {
    "depth": ("abs_error", "rel_error"),
    "normals": ("mean", "median", "within_11_25", "within_22_5", "within_30"),
}
#: Single-task SegNets of CAGrad's Tables 1 and 2 by data set, task and metric, in the units of `mtcp.metrics`.
BASES: Final[dict[str, dict[str, dict[str, float]]]] = {
    "NYUv2-13": {
        "semseg": {"miou": 0.3830, "pixel_accuracy": 0.6376},
        "depth": {"abs_error": 0.6754, "rel_error": 0.2780},
        "normals": {"mean": 25.01, "median": 19.21, "within_11_25": 30.14, "within_22_5": 57.20, "within_30": 69.15},
    },
    "Cityscapes-7": {
        "semseg": {"miou": 0.7401, "pixel_accuracy": 0.9316},
        "depth": {"abs_error": 0.0125, "rel_error": 27.77},
    },
}

#: {task: {metric: value}}
Values = Mapping[str, Mapping[str, float]]


class BatchMeans(Meter):
    """A meter that also reports the literature's means over batches of `size` consecutive images.

    A batch without a valid pixel is left out of the mean. Everything else is delegated to `meter`.
    """

    def __init__(self, meter: Meter, size: int) -> None:
        super().__init__(meter.task)
        self.meter, self.size = meter, size

    def update(self, prediction: "Tensor", target: "Tensor") -> Statistics:
        return self.meter.update(prediction, target)

    def compute(self, statistics: Statistics) -> dict[str, float]:
        names = AVERAGED.get(self.task.kind, ())
        return self.meter.compute(statistics) | {
            f"{name}{BATCHES}": value for name, value in self._means(statistics, names).items()
        }

    def _means(self, statistics: Statistics, names: tuple[str, ...]) -> dict[str, float]:
        if not names:
            return {}
        images = len(statistics["pixels"])
        batches = [np.arange(start, min(start + self.size, images)) for start in range(0, images, self.size)]
        batches = [batch for batch in batches if statistics["pixels"][batch].any()]
        found = [self.meter.compute(select(statistics, batch)) for batch in batches]
        return {name: float(np.mean([one[name] for one in found])) if found else float("nan") for name in names}


def delta_m_fixed_base(values: Values, dataset: str) -> float:
    """Return the literature's Delta_m in per cent against `BASES[dataset]`; lower is better.

    `values` are in the units of `mtcp.metrics`: fractions, per cent for `within_*`, metres or the disparity's unit,
    degrees. Raises `UserError` for a data set without a base, and where a metric is missing.
    """
    base = base_of(dataset)
    return -float(delta_m_pooled(_chosen(values, base), base))


def delta_p(values: Values, base: Values) -> float:
    """Return LibMTL's Delta_p in per cent against `base`, over the metrics of `base`; higher is better."""
    return float(delta_m_per_metric(_chosen(values, base), base))


def base_of(dataset: str) -> dict[str, dict[str, float]]:
    """Return the fixed base of a data set; raises `UserError` where there is none."""
    if dataset not in BASES:
        raise UserError(f"data set '{dataset}' has no fixed base: the literature has one for {', '.join(BASES)}")
    return BASES[dataset]


def _chosen(values: Values, base: Values) -> dict[str, dict[str, float]]:
    missing = [f"{task}.{name}" for task in base for name in base[task] if name not in values.get(task, {})]
    if missing:
        raise UserError(f"this Delta needs {', '.join(missing)}: complete the values")
    return {task: {name: values[task][name] for name in names} for task, names in base.items()}
