"""Breakdown of differences from the baseline by task, class, test image and seed, paired by seed.

Intervals are individual 95 % Student intervals over seeds: these tables are descriptive, and no verdict uses them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtcp.analysis.comparisons import MULTI_TASK, Measure, by_seed, paired, primary
from mtcp.analysis.statistics import spread, t_interval
from mtcp.core.config import Benchmark, Method
from mtcp.core.tasks import Task
from mtcp.metrics.meter import Statistics
from mtcp.metrics.multi_task import delta_m, relative_change
from mtcp.metrics.recompute import metrics_by_image, read_statistics
from mtcp.store.plan import Run

CHANGE_COLUMNS: Final = ["benchmark", "method", "task", "n", "mean", "sd", "low", "high"]
CLASS_COLUMNS: Final = ["benchmark", "method", "task", "number", "name", "n", "iou", "improvement", "sd", "low", "high"]
IMAGE_COLUMNS: Final = ["benchmark", "method", "image", "n", "delta_m", "least", "greatest", "place"]
RANK_COLUMNS: Final = ["benchmark", "method", "seed", "delta_m", "rank"]


def task_changes(table: pd.DataFrame, benchmark: Benchmark, methods: Mapping[str, Method]) -> pd.DataFrame:
    """Return the relative change in per cent of every task's primary metric, and Delta_m under task "multi_task".

    `table` is runs.csv with its Delta_m rows. Methods that share no seed with the baseline have no row. A seed on which
    the baseline's metric is zero has no relative change.
    """
    rows = []
    for method in _trained(methods):
        for task in benchmark.task_list:
            measure = Measure(task.name, task.metric, task.higher_is_better, 0.0)
            both = paired(table, method, benchmark.baseline, measure)
            change = relative_change(both.own, both.other, task.higher_is_better)
            rows.append((method, task.name, change[np.isfinite(change)]))
        whole = by_seed(table, method, Measure(MULTI_TASK, "delta_m", True, 0.0)).value.to_numpy(float)
        rows.append((method, MULTI_TASK, whole))
    name = table.benchmark.iloc[0]
    found = [(name, method, task, *_over_seeds(change)) for method, task, change in rows if len(change)]
    return pd.DataFrame(found, columns=CHANGE_COLUMNS)


def class_differences(runs: Sequence[Run], benchmark: Benchmark, methods: Mapping[str, Method]) -> pd.DataFrame:
    """Return the IoU of every class, pooled over the test images, and its difference to the baseline's.

    One row per method, task with classes, and class that occurs in truth or prediction of all paired runs; fractions.
    Their names are those that the runs recorded.
    """
    tasks = [task.name for task in benchmark.task_list if task.classifies]
    names: dict[str, Sequence[str]] = dict.fromkeys(tasks, ())
    found: dict[tuple[str, str], dict[int, NDArray[np.float64]]] = {}
    for run in runs:
        if tasks and run.method in _trained(methods) and run.images_path.exists():
            names |= run.record().data.classes
            _, statistics = read_statistics(run.images_path, tasks=tasks)
            for task in tasks:
                found.setdefault((run.method, task), {})[run.seed] = _iou(statistics[task])
    rows = []
    for (method, task_name), ours in found.items():
        base = found.get((benchmark.baseline, task_name), {})
        seeds = sorted(set(ours) & set(base))
        if not seeds:
            continue
        own, other = (np.stack([side[seed] for seed in seeds]) for side in (ours, base))
        labels = names[task_name]
        for label in np.flatnonzero(np.isfinite(own - other).all(axis=0)).tolist():
            name = labels[label] if len(labels) else f"class {label}"
            n, *rest = _over_seeds(own[:, label] - other[:, label])
            rows.append((runs[0].benchmark, method, task_name, label, name, n, own[:, label].mean(), *rest))
    return pd.DataFrame(rows, columns=CLASS_COLUMNS)


def _iou(statistics: Statistics) -> NDArray[np.float64]:
    """IoU (K,) of the pooled counts; NaN for a class that occurs in neither truth nor prediction."""
    tp, fp, fn = (statistics[name].sum(0, dtype=np.int64) for name in ("tp", "fp", "fn"))
    whole = tp + fp + fn
    return np.where(whole > 0, tp / np.maximum(whole, 1), np.nan)


def image_changes(runs: Sequence[Run], benchmark: Benchmark) -> pd.DataFrame:
    """Return Delta_m of every single test image, reference against baseline: mean, least and greatest over seeds.

    The primary metrics are computed on that image alone. On a seed where the baseline's metric is zero or a metric is
    missing, the image has no Delta_m. `place` marks the best, the median and the worst of the images that have a
    Delta_m on every paired seed.
    """
    tasks = benchmark.task_list
    sides = {
        (run.method, run.seed): run
        for run in runs
        if run.method in (benchmark.reference, benchmark.baseline) and run.images_path.exists()
    }
    seeds = sorted(
        seed
        for method, seed in sides
        if method == benchmark.reference != benchmark.baseline and (benchmark.baseline, seed) in sides
    )
    if not seeds:
        return pd.DataFrame(columns=IMAGE_COLUMNS)
    changes = {}
    for seed in seeds:
        ids, own = _by_image(sides[benchmark.reference, seed], tasks)
        changes[seed] = pd.Series(delta_m(own, _by_image(sides[benchmark.baseline, seed], tasks)[1], tasks), index=ids)
    table = pd.DataFrame(changes)
    found = pd.DataFrame(
        {
            "n": table.notna().sum(axis=1),
            "delta_m": table.mean(axis=1),
            "least": table.min(axis=1),
            "greatest": table.max(axis=1),
        }
    )
    order = found[found.n == len(seeds)].sort_values("delta_m", ascending=False, kind="stable").index
    places = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1} if len(order) > 2 else {}
    found["place"] = pd.Series({order[position]: place for place, position in places.items()}, dtype=str)
    head = {"benchmark": runs[0].benchmark, "method": benchmark.reference}
    return found.rename_axis("image").reset_index().assign(**head)[IMAGE_COLUMNS]


def _by_image(run: Run, tasks: Sequence[Task]) -> tuple[tuple[str, ...], dict[str, NDArray[np.float64]]]:
    """Image ids, and the primary metric of every task on every single image, (images,)."""
    ids, statistics = read_statistics(run.images_path)
    rows = metrics_by_image(statistics, tasks, run.config.evaluation, len(ids))
    return ids, {task.name: np.array([row[task.name][task.metric] for row in rows]) for task in tasks}


def ranks(change: pd.DataFrame, methods: Mapping[str, Method]) -> pd.DataFrame:
    """Return each method's rank by Delta_m on every single seed: the result of a study with only that seed.

    Uses the last epoch's final outputs, without trivial baselines, on seeds where every method has a value. In a tie,
    the earlier method of the grid ranks first.
    """
    own = primary(change)
    rows = own[(own.metric == "delta_m") & own.method.isin(list(_trained(methods)))]
    table = rows.pivot(index="seed", columns="method", values="value").reindex(columns=list(methods))
    table = table.dropna(axis=1, how="all").dropna()
    places = table.rank(axis=1, method="first", ascending=False).astype(int)
    found = [
        (change.benchmark.iloc[0], method, seed, table.loc[seed, method], places.loc[seed, method])
        for method in table.columns
        for seed in table.index
    ]
    return pd.DataFrame(found, columns=RANK_COLUMNS)


def _trained(methods: Mapping[str, Method]) -> Iterable[str]:
    return [name for name, method in methods.items() if method.family != "trivial"]


def _over_seeds(values: NDArray[np.float64]) -> tuple[int, float, float, float, float]:
    """n, mean, standard deviation, and the ends of the 95 % interval."""
    return len(values), float(values.mean()), spread(values), *t_interval(values)
