"""A second level of uncertainty: how much the choice of test images affects a comparison, with the seeds fixed.

Images are drawn with replacement, with the same draw for every run. Every metric is recomputed from the stored
statistics per image, and every comparison from these metrics.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtcp.analysis.comparisons import MULTI_TASK
from mtcp.analysis.rows import rows_of
from mtcp.analysis.statistics import image_bootstrap
from mtcp.core.config import Benchmark
from mtcp.core.errors import UserError
from mtcp.core.randomness import stream
from mtcp.core.tasks import Task
from mtcp.metrics.multi_task import delta_m
from mtcp.metrics.recompute import metrics_from_statistics, pooled, read_statistics
from mtcp.store.plan import Run

DRAWS: Final = 200
#: The histogram of angles is most of the bytes, and serves neither the mean nor the RMS angle.
_HISTOGRAM: Final = ("bins_1", "bins_256")
_WITHOUT_HISTOGRAM: Final = ("mean", "rmse")

#: {(method, seed): {task: its primary metric in each draw (draws,)}}
Draws = dict[tuple[str, int], dict[str, NDArray[np.float64]]]


def draw_metrics(runs: Sequence[Run], benchmark: Benchmark) -> Draws:
    """Return the primary metrics of each run in `DRAWS` resamples of the test images.

    Runs without stored statistics per image are left out. Raises `UserError` where runs have different test images.
    """
    tasks = benchmark.task_list
    found: Draws = {}
    known: tuple[str, ...] | None = None
    for run in runs:
        if not run.images_path.exists():
            continue
        ids, statistics = read_statistics(run.images_path)
        if known is not None and ids != known:
            raise UserError(f"{run.images_path} was made from other test images than the other runs: evaluate it again")
        known = ids
        found[run.method, run.seed] = _draws(statistics, tasks, run, len(ids))
    return found


def _draws(statistics: dict, tasks: Sequence[Task], run: Run, images: int) -> dict[str, NDArray[np.float64]]:
    large = {
        task.name: {name: values[:1] for name, values in statistics[task.name].items() if name in _HISTOGRAM}
        for task in tasks
        if task.kind == "normals" and task.metric in _WITHOUT_HISTOGRAM
    }
    small = {
        task.name: {
            name: value for name, value in statistics[task.name].items() if name not in large.get(task.name, {})
        }
        for task in tasks
    }

    evaluation = pooled(run.config.evaluation)

    def primary(chosen: NDArray[np.int64]) -> list[float]:
        drawn = {
            task: {name: value[chosen] for name, value in values.items()} | large.get(task, {})
            for task, values in small.items()
        }
        metrics = metrics_from_statistics(drawn, tasks, evaluation)
        return [metrics[task.name][task.metric] for task in tasks]

    draws = image_bootstrap(primary, images, DRAWS, seed=stream(run.benchmark, "images"))
    return {task.name: draws[:, place] for place, task in enumerate(tasks)}


def add_image_intervals(compared: pd.DataFrame, draws: Draws, benchmark: Benchmark) -> pd.DataFrame:
    """Return `compared` with `image_low` and `image_high`: the central 95 % of the improvement over draws of images.

    NaN where a run of the comparison has no stored statistics, and for measures that are not resampled (coherence).
    """
    tasks = benchmark.task_list
    with_change = {
        key: {**values, MULTI_TASK: delta_m(values, draws[benchmark.baseline, key[1]], tasks)}
        if (benchmark.baseline, key[1]) in draws
        else values
        for key, values in draws.items()
    }
    higher = {(task.name, task.metric): task.higher_is_better for task in tasks} | {(MULTI_TASK, "delta_m"): True}
    ends = [
        _interval(row, with_change, higher[row.task, row.metric])
        if (row.task, row.metric) in higher
        else (float("nan"), float("nan"))
        for row in rows_of(compared)
    ]
    return compared.assign(image_low=[low for low, _ in ends], image_high=[high for _, high in ends])


def _interval(row: Any, draws: Draws, higher_is_better: bool) -> tuple[float, float]:
    seeds = [int(seed) for seed in row.seeds.split(";") if seed]
    runs = [[draws.get((name, seed), {}) for seed in seeds] for name in (row.method, row.reference)]
    if not seeds or any(row.task not in run for side in runs for run in side):
        return float("nan"), float("nan")
    sides = [[run[row.task] for run in side] for side in runs]
    own, other = (np.mean(side, axis=0) for side in sides)
    low, high = np.percentile((own - other) * (1 if higher_is_better else -1), [2.5, 97.5])
    return float(low), float(high)
