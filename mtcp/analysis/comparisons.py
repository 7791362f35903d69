"""What is compared with what: measures with direction and ROPE, Delta_m per seed, pairs of runs of one seed.

Works on the tidy table `runs.csv` (one row per run x selection x output x task x metric), no files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtcp.core.claims import COSTS
from mtcp.core.config import Benchmark
from mtcp.core.tasks import TASK_NAMES, Task, make_task
from mtcp.metrics import multi_task

MULTI_TASK: Final = "multi_task"
COST: Final = "cost"
#: The number a comparison is about: the last epoch's final outputs, chosen without a look at the test images.
PRIMARY: Final = {"selection": "last", "output": "final"}
#: Practically equal within this where a benchmark's `rope` is silent, in the metric's unit.
DEFAULT_ROPES: Final = {"miou": 0.005, "rmse": 0.005, "mean": 0.2, "max_miou": 0.005, "ods_f": 0.005}
#: What the other definitions of Delta_m average, task by task: no variant of a metric beside the metric itself.
AVERAGED: Final = {
    "semseg": ("miou", "pixel_accuracy"),
    "human_parts": ("miou", "pixel_accuracy"),
    "depth": ("rmse", "log_rmse"),
    "sal": ("max_miou", "max_f"),
    "normals": ("mean", "median", "within_11_25", "within_22_5", "within_30"),
    "edge": ("ods_f", "ois_f", "ap"),
}
#: Costs are compared in per cent of the reference's, lower is better.
COST_ROPE: Final = 5.0


@dataclass(frozen=True)
class Measure:
    """One quantity that methods are compared on; `relative` differences are in per cent of the reference's value."""

    task: str
    metric: str
    higher_is_better: bool
    rope: float
    unit: str = ""
    relative: bool = False

    @property
    def deterministic(self) -> bool:
        """Whether it is the same for every seed by construction."""
        return self.metric == "parameters"


def benchmark_tasks(benchmark: Benchmark) -> tuple[Task, ...]:
    """Return the tasks of `benchmark` in the field's order."""
    return tuple(
        make_task(name, **benchmark.tasks[name].model_dump(exclude={"rope"}))
        for name in TASK_NAMES
        if name in benchmark.tasks
    )


def measures(benchmark: Benchmark) -> dict[str, Measure]:
    """Return {name: measure}: `delta_m`, each task's primary metric under the task's name, the costs under theirs."""
    found = {"delta_m": Measure(MULTI_TASK, "delta_m", True, benchmark.delta_m_rope, "%")}
    for task in benchmark_tasks(benchmark):
        rope = benchmark.tasks[task.name].rope or DEFAULT_ROPES[task.metric]
        found[task.name] = Measure(task.name, task.metric, task.higher_is_better, rope, task.unit)
    return found | {metric: Measure(COST, metric, False, COST_ROPE, "%", relative=True) for metric in COSTS}


def delta_m_rows(runs: pd.DataFrame, benchmark: Benchmark) -> pd.DataFrame:
    """Return rows like those of `runs` with task "multi_task": Delta_m by its definitions, per run and selection.

    Final outputs against the baseline's run of the same seed and selection. A run that lacks a number, or whose
    baseline run is missing or diverged, has no row. `delta_m_per_metric` and `delta_m_pooled` take the metrics of
    `AVERAGED` (see `mtcp.metrics.multi_task`), and are left out where one of those is missing.
    """
    tasks = benchmark_tasks(benchmark)
    chosen = runs[(runs.output == "final") & runs.value.notna()]
    found: dict[tuple[str, int, str], dict[str, dict[str, float]]] = {}
    heads: dict[tuple[str, int, str], dict] = {}
    for row in chosen.to_dict("records"):
        key = (row["method"], row["seed"], row["selection"])
        found.setdefault(key, {}).setdefault(row["task"], {})[row["metric"]] = row["value"]
        heads.setdefault(key, row)
    rows = []
    for (method, seed, selection), values in found.items():
        reference = found.get((benchmark.baseline, seed, selection), {})
        for metric, change in _changes(values, reference, tasks).items():
            head = heads[method, seed, selection]
            rows.append({**head, "task": MULTI_TASK, "metric": metric, "value": change})
    return pd.DataFrame(rows, columns=runs.columns)


def _changes(
    values: dict[str, dict[str, float]], reference: dict[str, dict[str, float]], tasks: Sequence[Task]
) -> dict[str, float]:
    changes = {}
    if all(task.metric in side.get(task.name, {}) for task in tasks for side in (values, reference)):
        own, other = ({task.name: side[task.name][task.metric] for task in tasks} for side in (values, reference))
        changes["delta_m"] = float(multi_task.delta_m(own, other, tasks))
    if all(
        name in side.get(task.name, {})
        for task in tasks
        for name in AVERAGED[task.name]
        for side in (values, reference)
    ):
        own, other = (
            {task.name: {name: side[task.name][name] for name in AVERAGED[task.name]} for task in tasks}
            for side in (values, reference)
        )
        changes["delta_m_per_metric"] = float(multi_task.delta_m_per_metric(own, other))
        changes["delta_m_pooled"] = float(multi_task.delta_m_pooled(own, other))
    return changes


def by_seed(table: pd.DataFrame, method: str, measure: Measure) -> pd.DataFrame:
    """Return (value, environment) of `method` on `measure`, indexed by seed: primary selection and output only."""
    rows = table[(table.method == method) & (table.task == measure.task) & (table.metric == measure.metric)]
    if measure.task != COST:
        rows = rows[(rows.selection == PRIMARY["selection"]) & (rows.output == PRIMARY["output"])]
    return rows.dropna(subset=["value"]).set_index("seed")[["value", "environment"]]


@dataclass(frozen=True)
class Pairs:
    """Paired improvements of one comparison, seed by seed; `mixed` where a pair crosses environment classes."""

    seeds: tuple[int, ...]
    improvements: NDArray[np.float64]
    mixed: bool


def paired(table: pd.DataFrame, method: str, reference: str, measure: Measure) -> Pairs:
    """Pair `method` with `reference` on the seeds both finished; positive means that `method` is better."""
    both = by_seed(table, method, measure).merge(
        by_seed(table, reference, measure), left_index=True, right_index=True, suffixes=("_own", "_reference")
    )
    both = both.sort_index()
    difference = (both.value_own - both.value_reference).to_numpy(float)
    if measure.relative:
        difference = 100 * difference / both.value_reference.to_numpy(float)
    return Pairs(
        tuple(int(seed) for seed in both.index),
        difference if measure.higher_is_better else -difference,
        bool((both.environment_own != both.environment_reference).any()),
    )
