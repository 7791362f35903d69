"""Schemes compared with a sweep of fixed weights, the first baseline to beat.

Xin et al. (NeurIPS 2022) find no scheme beyond the Pareto front of fixed weights; a single number such as Delta_m hides
that.
"""

from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd

from mtcp.analysis.comparisons import primary
from mtcp.core.tasks import Task

#: Schemes with constant weights: the plain sum is one point of the sweep.
FIXED: Final = ("fixed", "equal")
#: The least number of methods with such schemes, on one architecture, that make a sweep.
FEWEST: Final = 3
COLUMNS: Final = ["architecture", "first", "second", "method", "label", "fixed", "x", "y", "front"]


def undominated(gains: np.ndarray) -> np.ndarray:
    """Which rows of `gains` (N, M), larger is better, are on the Pareto front, boolean (N,)."""
    reached = (gains[None] >= gains[:, None]).all(-1)
    exceeded = (gains[None] > gains[:, None]).any(-1)
    return np.asarray(~np.any(reached & exceeded, axis=1))


def sweep(summary: pd.DataFrame, methods: pd.DataFrame, tasks: tuple[Task, ...]) -> pd.DataFrame:
    """Return the methods of every architecture with a sweep, for each pair of tasks: `COLUMNS`.

    `x`, `y` are the means over seeds of both tasks' primary metrics (final output, last epoch); `front` marks fixed
    weights that no other fixed weights dominate in these two.
    """
    own = primary(summary)
    metrics = {task.name: own[(own.task == task.name) & (own.metric == task.metric)] for task in tasks}
    means = pd.DataFrame({name: rows.set_index("method")["mean"] for name, rows in metrics.items()})
    rows = methods[methods.family != "trivial"].merge(means, left_on="method", right_index=True)
    rows["fixed"] = rows.scheme.isin(FIXED)
    found = [pd.DataFrame(columns=COLUMNS)]
    for _, group in rows.groupby("architecture", sort=False):
        for pair in combinations(tasks, 2):
            names = [task.name for task in pair]
            both = group.dropna(subset=names)
            if both.fixed.sum() < FEWEST:
                continue
            gains = both[names].to_numpy() * [1 if task.higher_is_better else -1 for task in pair]
            front = np.zeros(len(both), dtype=bool)
            front[both.fixed] = undominated(gains[both.fixed])
            points = dict(zip(("first", "second"), names, strict=True)) | {"x": both[names[0]], "y": both[names[1]]}
            found.append(both.assign(**points, front=front)[COLUMNS])
    return pd.concat(found[1:] or found, ignore_index=True)
