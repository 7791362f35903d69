"""The quantities that are compared: measures with direction and ROPE, Delta_m per seed, pairs of runs of one seed.

Works on the tidy table `runs.csv` (one row per run x selection x output x task x metric) and reads no files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtcp.core.config import Benchmark
from mtcp.core.errors import UserError
from mtcp.core.measures import COSTS
from mtcp.core.tasks import Task
from mtcp.metrics import coherence, multi_task
from mtcp.metrics.coherence import COHERENCE
from mtcp.store.records import Status

MULTI_TASK: Final = "multi_task"
COST: Final = "cost"
#: The output under which evaluation stores the coherence of the ground truths.
TRUTH: Final = "truth"
#: Stands between two classes of environments.
_AGAINST: Final = "against"
#: The number a comparison is about: the last epoch's final outputs, chosen without a look at the test images.
PRIMARY: Final = {"selection": "last", "output": "final"}
#: The states of runs that are done.
DONE: Final = get_args(Status)
#: Default ROPE by unit, where a benchmark sets no `rope`: fractions and metres, degrees, per cent.
DEFAULT_ROPES: Final = {"": 0.005, "m": 0.005, "°": 0.2, "%": 0.5}
#: The metrics that other definitions of Delta_m average, by kind of task; variants of a metric are left out.
AVERAGED: Final = {
    "semseg": ("miou", "pixel_accuracy"),
    "human_parts": ("miou", "pixel_accuracy"),
    "depth": ("rmse", "log_rmse"),
    "sal": ("max_miou", "max_f"),
    "normals": ("mean", "median", "within_11_25", "within_22_5", "within_30"),
    "edge": ("ods_f", "ois_f", "ap"),
    "regression": ("rmse", "abs_error"),
}
#: Of a depth whose primary metric is one of these: the loss-weighting literature's.
_ERRORS: Final = ("abs_error", "rel_error")
#: Costs are compared in per cent of the reference's, lower is better.
COST_ROPE: Final = 5.0


def primary(rows: pd.DataFrame, *, costs: bool = False) -> pd.DataFrame:
    """Return the rows of the `PRIMARY` selection and output; with `costs` also costs, which have neither."""
    chosen = (rows.selection == PRIMARY["selection"]) & (rows.output == PRIMARY["output"])
    return rows[chosen | (rows.task == COST)] if costs else rows[chosen]


def open_runs(table: pd.DataFrame) -> int:
    """Return the number of planned runs that are not done; `table` has a row for every planned run."""
    return len(table[~table.status.isin(DONE)].drop_duplicates(["method", "seed"]))


@dataclass(frozen=True)
class Measure:
    """A quantity on which methods are compared; `relative` differences are in per cent of the reference's value."""

    task: str
    metric: str
    higher_is_better: bool
    rope: float
    unit: str = ""
    relative: bool = False
    output: str = PRIMARY["output"]

    @property
    def deterministic(self) -> bool:
        """Whether it is the same for every seed by construction."""
        return self.metric in ("parameters", "gflops")


def measures(benchmark: Benchmark) -> dict[str, Measure]:
    """Return {name: measure}: `delta_m`, `delta_coherence`, tasks (their primary metrics) and costs."""
    coherent = "semseg" in benchmark.tasks and not coherence.TOGETHER.isdisjoint(benchmark.tasks)
    changes = ["delta_m", *(["delta_coherence"] if coherent else [])]
    found = {name: Measure(MULTI_TASK, name, True, benchmark.delta_m_rope, "%") for name in changes}
    for task in benchmark.task_list:
        rope = benchmark.tasks[task.name].rope or DEFAULT_ROPES[task.metric_unit]
        found[task.name] = Measure(task.name, task.metric, task.higher_is_better, rope, task.metric_unit)
    return found | {metric: Measure(COST, metric, False, COST_ROPE, "%", relative=True) for metric in COSTS}


#: {task: {metric: value}} of one output of one run.
Values = dict[str, dict[str, float]]


def delta_m_rows(runs: pd.DataFrame, benchmark: Benchmark) -> pd.DataFrame:
    """Return rows like those of `runs` with task "multi_task": Delta_m by all its definitions.

    There is one row per run, selection, output and definition. Every output is compared with the *final* output of the
    baseline's run of the same seed and selection. A run that lacks a value, or whose baseline run is missing or
    diverged, has no row. `delta_m_per_metric` and `delta_m_pooled` use the metrics of `AVERAGED` (see
    `mtcp.metrics.multi_task`) and are left out if one of these is missing. `delta_m_<name>` are the benchmark's
    `delta_m_readings`; `delta_coherence` is Delta_c of docs/metrics.md.
    """
    tasks = benchmark.task_list
    coherent = runs[(runs.task == COHERENCE) & (runs.output == PRIMARY["output"])].metric
    together = tuple(name for name in coherence.AVERAGED if name in set(coherent))
    chosen = runs[runs.value.notna() & (runs.task != COST) & (runs.output != TRUTH)]
    found: dict[tuple[str, int, str, str], Values] = {}
    heads: dict[tuple[str, int, str, str], dict] = {}
    for row in chosen.to_dict("records"):
        key = (row["method"], row["seed"], row["selection"], row["output"])
        found.setdefault(key, {}).setdefault(row["task"], {})[row["metric"]] = row["value"]
        heads.setdefault(key, row)
    rows = []
    for (method, seed, selection, output), values in found.items():
        place = benchmark.baseline, seed, selection, PRIMARY["output"]
        reference = found.get(place, {})
        for metric, change in _changes(values, reference, tasks, benchmark.delta_m_readings, together).items():
            head = heads[method, seed, selection, output]
            environment = _across(head["environment"], heads[place]["environment"])
            change_row = {"task": MULTI_TASK, "metric": metric, "value": change, "environment": environment}
            rows.append({**head, **change_row})
    return pd.DataFrame(rows, columns=runs.columns)


def _across(own: str, other: str) -> str:
    """The environment class of a number made from runs of two."""
    return own if own == other else f"{own} {_AGAINST} {other}"


def _changes(
    values: Values,
    reference: Values,
    tasks: Sequence[Task],
    readings: Mapping[str, Mapping[str, str]],
    together: Sequence[str],
) -> dict[str, float]:
    """Return every Delta_m of one output that its numbers allow; `together` is what Delta_c averages."""
    kinds = {task.name: task.kind for task in tasks}
    usual = {task.name: (task.metric,) for task in tasks}
    chosen = {"delta_m": usual}
    chosen |= {
        f"delta_m_{name}": usual | {task: (metric,) for task, metric in reading.items()}
        for name, reading in readings.items()
    }
    changes = {}
    for name, metrics in chosen.items():
        if (sides := _both(values, reference, metrics)) is not None:
            changes[name] = float(multi_task.delta_m_pooled(*sides, kinds))
    averaged = {
        task.name: _ERRORS if task.kind == "depth" and task.metric in _ERRORS else AVERAGED[task.kind] for task in tasks
    }
    if (sides := _both(values, reference, averaged)) is not None:
        changes["delta_m_per_metric"] = float(multi_task.delta_m_per_metric(*sides, kinds))
        changes["delta_m_pooled"] = float(multi_task.delta_m_pooled(*sides, kinds))
    if together and (sides := _both(values, reference, {COHERENCE: together})) is not None:
        changes["delta_coherence"] = float(multi_task.delta_m_pooled(*sides))
    return changes


def _both(values: Values, reference: Values, metrics: Mapping[str, Sequence[str]]) -> tuple[Values, Values] | None:
    """The named metrics of both sides by task; None if one is missing."""
    sides = values, reference
    if any(name not in side.get(task, {}) for task, names in metrics.items() for name in names for side in sides):
        return None
    own, other = (
        {task: {name: side[task][name] for name in names} for task, names in metrics.items()} for side in sides
    )
    return own, other


def by_seed(table: pd.DataFrame, method: str, measure: Measure) -> pd.DataFrame:
    """Return (value, environment) of `method` on `measure`, indexed by seed, of the primary selection.

    Raises `UserError` where a seed has two values: every run counts once.
    """
    rows = table[(table.method == method) & (table.task == measure.task) & (table.metric == measure.metric)]
    if measure.task != COST:
        rows = rows[(rows.selection == PRIMARY["selection"]) & (rows.output == measure.output)]
    found = rows.dropna(subset=["value"]).set_index("seed")[["value", "environment"]]
    if found.index.has_duplicates:
        twice = found.index[found.index.duplicated()][0]
        raise UserError(
            f"{method}, seed {twice} has two numbers for {measure.task} {measure.metric}: a run counts once"
        )
    return found


@dataclass(frozen=True)
class Pairs:
    """Paired values and improvements of one comparison, seed by seed, each (n,).

    `mixed`: whether a pair crosses environment classes. `lacking`: why there is no pair, or
    why some values were left out.
    """

    seeds: tuple[int, ...]
    own: NDArray[np.float64]
    other: NDArray[np.float64]
    improvements: NDArray[np.float64]
    mixed: bool = False
    lacking: str = ""


def paired(
    table: pd.DataFrame, method: str, reference: str, measure: Measure, other_output: str | None = None
) -> Pairs:
    """Pair `method` with `reference` on the seeds both finished; positive means that `method` is better.

    `other_output`: the reference's output, if it differs from the measure's. A seed at which the reference's cost is
    zero gives no pair, because costs are compared in per cent of it.
    """
    other = replace(measure, output=other_output or measure.output)
    both = by_seed(table, method, measure).merge(
        by_seed(table, reference, other), left_index=True, right_index=True, suffixes=("_own", "_reference")
    )
    both = both.sort_index()
    if measure.relative:  # nothing is a share of a cost of zero
        both = both[both.value_reference != 0]
    own, against = both.value_own.to_numpy(float), both.value_reference.to_numpy(float)
    difference = (own - against) * (1 if measure.higher_is_better else -1)
    if measure.relative:
        difference = 100 * difference / against
    mixed = any(
        mine != its or f" {_AGAINST} " in mine
        for mine, its in zip(both.environment_own, both.environment_reference, strict=True)
    )
    return Pairs(tuple(int(seed) for seed in both.index), own, against, difference, mixed)
