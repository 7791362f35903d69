"""Formatting of numbers: unit, digits and label of every metric. Tables keep the plain values."""

from dataclasses import dataclass, replace
from math import isfinite
from typing import Final

from mtcp.core.config import USUAL_READINGS, Benchmark
from mtcp.core.tasks import OWN
from mtcp.metrics.literature import BATCHES
from mtcp.metrics.multi_task import HIGHER_IS_BETTER


@dataclass(frozen=True)
class Display:
    """A metric is shown as value x `scale` with `digits` decimals, under `label`, in `unit`."""

    label: str
    scale: float = 1.0
    digits: int = 2
    unit: str = ""

    @property
    def heading(self) -> str:
        """Label and unit; a label that ends in a bound has the unit already."""
        return self.label if self.label.endswith(f" {self.unit}") else f"{self.label} {self.unit}".strip()

    def number(self, value: float, *, signed: bool = False) -> str:
        """Return `value` in the displayed unit; a dash if it is not finite."""
        if not isfinite(value):
            return "–"
        text = f"{value * self.scale:{'+' if signed else ''}z,.{self.digits}f}"  # z: no negative zero
        return text.replace("-", "−")

    def interval(self, low: float, high: float) -> str:
        """Return "[low, high]" with signs; a dash if one is not finite."""
        if not (isfinite(low) and isfinite(high)):
            return "–"
        return f"[{self.number(low, signed=True)}, {self.number(high, signed=True)}]"


_PERCENT: Final = {"scale": 100.0, "digits": 2, "unit": "%"}
_ANGLE: Final = {"digits": 2, "unit": "°"}
#: By kind of task ("" for all kinds) and metric. `display` fills in what depends on the benchmark.
_DISPLAYS: Final = {
    ("", "miou"): Display("mIoU", **_PERCENT),
    ("", "miou_present"): Display("mIoU of present classes", **_PERCENT),
    ("", "pixel_accuracy"): Display("pixel accuracy", **_PERCENT),
    ("", "max_miou"): Display("max mIoU", **_PERCENT),
    ("", "max_f"): Display("max F", **_PERCENT),
    ("", "ods_f"): Display("odsF", **_PERCENT),
    ("", "ois_f"): Display("oisF", **_PERCENT),
    ("", "ap"): Display("AP", **_PERCENT),
    ("depth", "rmse"): Display("RMSE", digits=4, unit=OWN),
    ("depth", "rmse_capped"): Display("RMSE below {cap:g} {unit}", digits=4, unit=OWN),
    ("depth", "log_rmse"): Display("log-RMSE", digits=4),
    ("depth", "log_rmse_capped"): Display("log-RMSE below {cap:g} {unit}", digits=4),
    ("depth", "abs_error"): Display("absolute error", digits=4, unit=OWN),
    ("depth", "rel_error"): Display("relative error", digits=4),
    ("depth", "within_1_25"): Display("δ < 1.25", digits=1, unit="%"),
    ("depth", "within_1_25_2"): Display("δ < 1.25²", digits=1, unit="%"),
    ("depth", "within_1_25_3"): Display("δ < 1.25³", digits=1, unit="%"),
    ("normals", "mean"): Display("mean angle", **_ANGLE),
    ("normals", "median"): Display("median angle", **_ANGLE),
    ("normals", "rmse"): Display("RMS angle", **_ANGLE),
    ("normals", "within_11_25"): Display("within 11.25°", digits=1, unit="%"),
    ("normals", "within_22_5"): Display("within 22.5°", digits=1, unit="%"),
    ("normals", "within_30"): Display("within 30°", digits=1, unit="%"),
    ("regression", "rmse"): Display("RMSE", digits=4, unit=OWN),
    ("regression", "abs_error"): Display("absolute error", digits=4, unit=OWN),
    ("multi_task", "delta_m"): Display("Δm", digits=2, unit="%"),
    ("multi_task", "delta_m_per_metric"): Display("Δm per metric, then task", digits=2, unit="%"),
    ("multi_task", "delta_m_pooled"): Display("Δm over all metrics", digits=2, unit="%"),
    ("multi_task", "delta_coherence"): Display("Δc (coherence)", digits=2, unit="%"),
    ("coherence", "depth_normals_angle"): Display("depth to normals", **_ANGLE),
    ("coherence", "depth_normals_angle_near"): Display("the same near boundaries", **_ANGLE),
    ("coherence", "depth_boundary_f"): Display("F, depth", **_PERCENT),
    ("coherence", "normals_boundary_f"): Display("F, normals", **_PERCENT),
    ("coherence", "edge_boundary_f"): Display("F, edges", **_PERCENT),
    ("coherence", "parts_outside_person"): Display("part pixels outside people", digits=1, unit="%"),
    ("coherence", "person_without_parts"): Display("person pixels without parts", digits=1, unit="%"),
    ("coherence", "person_not_salient"): Display("person pixels not salient", digits=1, unit="%"),
    ("cost", "parameters"): Display("parameters", 1e-6, 3, "M"),
    ("cost", "gflops"): Display("operations", 1.0, 3, "GFLOP"),
    ("cost", "seconds_per_step"): Display("training", 1e3, 0, "ms/step"),
    ("cost", "seconds_per_image"): Display("inference", 1e3, 1, "ms/image"),
    ("cost", "peak_memory_mb"): Display("memory", 1.0, 0, "MB"),
    ("cost", "train_seconds"): Display("whole training", 1.0, 0, "s"),
}
#: Differences of costs are relative.
PER_CENT: Final = Display("", digits=1, unit="%")


def display(task: str, metric: str, benchmark: Benchmark | None = None) -> Display:
    """Return how `metric` of `task` is shown; a metric without an entry has its name as label, and four digits.

    A task of the `benchmark` is shown like its kind, in its unit. Costs and changes over all tasks need no benchmark.
    """
    if benchmark and (own := next((each for each in benchmark.task_list if each.name == task), None)):
        shown = display(own.kind, metric)
        label = shown.label.format(cap=benchmark.evaluation.depth_cap, unit=own.unit)
        return replace(shown, label=label, unit=own.unit if shown.unit == OWN else shown.unit)
    if task == "multi_task" and (reading := metric.removeprefix("delta_m_")) not in (metric, *USUAL_READINGS):
        return Display(f"Δm {reading.replace('_', ' ')}", digits=2, unit="%")
    return _DISPLAYS.get((task, metric)) or _DISPLAYS.get(("", metric)) or Display(metric.replace("_", " "), digits=4)


def higher_is_better(task: str, metric: str, benchmark: Benchmark) -> bool:
    """Whether more of `metric` is better: of changes over all tasks, never of costs, else as the metric says."""
    own = HIGHER_IS_BETTER.get(benchmark.kinds.get(task, task), {})
    return own.get(metric.removesuffix(BATCHES), task == "multi_task")


def difference(task: str, metric: str, benchmark: Benchmark | None = None) -> Display:
    """Return how a difference in `metric` of `task` is shown: per cent less per cent is points, costs are relative."""
    if task == "cost":
        return PER_CENT
    shown = display(task, metric, benchmark)
    return replace(shown, unit="points") if shown.unit == "%" else shown


def probability(value: float) -> str:
    """Return a probability with three digits, with 0 and 1 only if exact; a dash if it is not finite."""
    if not isfinite(value):
        return "–"
    if value in (0, 1):
        return f"{value:.0f}"
    if 0 < value < 0.001:
        return "< 0.001"
    if 0.999 < value < 1:
        return "> 0.999"
    return f"{value:.3f}"
