"""Multi-task change: how much better or worse a multi-task network is than single-task networks, in per cent.

For a metric M of a task with reference value B (the single-task network's), the signed relative change is

    100 (-1)^l (M - B) / |B|,  l = 1 where a lower value is better,

so that positive is better. The definitions in use differ in what is averaged:

- `delta_m`: one metric per task, the mean over tasks (Maninis et al., CVPR 2019; Vandenhende et al., TPAMI 2021);
- `delta_m_per_metric`: the mean over tasks of the mean over each task's metrics (LibMTL, Lin and Zhang, JMLR 2023);
- `delta_m_pooled`: the mean over all metrics of all tasks, so that tasks with more metrics weigh more (CAGrad, Liu et
  al., NeurIPS 2021, and Nash-MTL, Navon et al., ICML 2022, over nine metrics of NYUv2).

Values and references may be arrays, one entry per seed: entry k of a value is compared with entry k of its reference.
A reference of zero, or a missing value (NaN), gives NaN.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtcp.core.errors import UserError
from mtcp.core.tasks import METRICS, Task
from mtcp.metrics.coherence import COHERENCE, COHERENCE_METRICS

#: Whether higher is better, for every metric of every kind of task and of coherence.
HIGHER_IS_BETTER: Final = {
    **{kind: {metric: higher for metric, (higher, _) in metrics.items()} for kind, metrics in METRICS.items()},
    COHERENCE: COHERENCE_METRICS,
}
#: The kind of each standard task, and of coherence: its name.
_FIELDS: Final = {kind: kind for kind in HIGHER_IS_BETTER}


def relative_change(value: ArrayLike, reference: ArrayLike, higher_is_better: bool) -> NDArray[np.float64]:
    """Return the signed relative change in per cent, positive where `value` is better."""
    value, reference = np.asarray(value, dtype=float), np.asarray(reference, dtype=float)
    sign = 1 if higher_is_better else -1
    with np.errstate(divide="ignore", invalid="ignore"):
        change = 100 * sign * (value - reference) / np.abs(reference)
    return np.where(reference == 0, np.nan, change)


def delta_m(
    values: Mapping[str, ArrayLike], references: Mapping[str, ArrayLike], tasks: Sequence[Task]
) -> NDArray[np.float64]:
    """Return the mean over `tasks` of the relative change of each task's primary metric; arguments are by task name.

    Raises `UserError` naming a task without a value or a reference.
    """
    for task in tasks:
        if task.name not in values or task.name not in references:
            missing = "value" if task.name not in values else "single-task reference"
            raise UserError(f"Delta_m needs a {missing} of task '{task.name}': run that method first")
    return np.mean(
        [relative_change(values[task.name], references[task.name], task.higher_is_better) for task in tasks], axis=0
    )


def delta_m_per_metric(
    values: Mapping[str, Mapping[str, ArrayLike]],
    references: Mapping[str, Mapping[str, ArrayLike]],
    kinds: Mapping[str, str] = _FIELDS,
) -> NDArray[np.float64]:
    """Return the mean over tasks of the mean over metrics of the relative change; arguments are by task and metric.

    `kinds` gives the kind of each task.
    """
    return np.mean([np.mean(change, axis=0) for change in _changes(values, references, kinds)], axis=0)


def delta_m_pooled(
    values: Mapping[str, Mapping[str, ArrayLike]],
    references: Mapping[str, Mapping[str, ArrayLike]],
    kinds: Mapping[str, str] = _FIELDS,
) -> NDArray[np.float64]:
    """Return the mean over all metrics of all tasks of the relative change; arguments are by task and metric."""
    return np.mean([change for task in _changes(values, references, kinds) for change in task], axis=0)


def _changes(
    values: Mapping[str, Mapping[str, ArrayLike]],
    references: Mapping[str, Mapping[str, ArrayLike]],
    kinds: Mapping[str, str],
) -> list[list[NDArray[np.float64]]]:
    """The relative changes of every task, metric by metric."""
    return [
        [
            relative_change(value, references[task][name], HIGHER_IS_BETTER[kinds[task]][name])
            for name, value in metrics.items()
        ]
        for task, metrics in values.items()
    ]
