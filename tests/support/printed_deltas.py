"""The Deltas that papers of the loss-weighting literature print, computed again from the numbers beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtcp.analysis.published_weighting import HIGHER, Printed, Row, rows_of
from mtcp.metrics.multi_task import relative_change

_SINGLE = ("STL", "Single")


@dataclass(frozen=True)
class Recomputed:
    """A printed Delta, its value recomputed from the row's printed numbers, and the tolerance for rounding."""

    printed: Printed
    value: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        return abs(self.value - self.printed.value) <= self.tolerance + 1e-9


def recompute(published: Sequence[Printed]) -> list[Recomputed]:
    """Recompute every printed Delta from its row, in the order of the file.

    The base is the paper's own single-task row of that network if it prints one, else the first in the file: for most
    SegNet rows, CAGrad's single-task SegNet. A Delta printed without its own row, for values copied from elsewhere,
    belongs to the first row of that method and network.
    """
    rows = rows_of(published)
    return [
        _recomputed(one, row, base)
        for one in published
        if one.task == "multi-task" and (row := _row_of(one, rows)) and (base := _base_of(one, rows))
    ]


def _row_of(delta: Printed, rows: Mapping[tuple[str, str, str, str], Row]) -> Row | None:
    if delta.row in rows:
        return rows[delta.row]
    return next((row for key, row in rows.items() if key[:3] == delta.row[:3]), None)


def _base_of(delta: Printed, rows: Mapping[tuple[str, str, str, str], Row]) -> Row | None:
    singles = [
        row
        for (dataset, backbone, method, _), row in rows.items()
        if (dataset, backbone) == delta.row[:2] and method in _SINGLE
    ]
    own = [row for row in singles if next(iter(row.values())).paper == delta.paper]
    return next(iter(own or singles), None)


def _recomputed(delta: Printed, row: Row, base: Row) -> Recomputed:
    two_digits = "two digits" in delta.source
    changes: dict[str, list[tuple[float, float]]] = {}
    for (task, metric), one in row.items():
        cut = two_digits and task == "depth"
        value, rounding = (round(one.value, 2), 0.005) if cut else (one.value, _rounding(one))
        reference = base[task, metric]
        change = float(relative_change(value, reference.value, metric in HIGHER))
        error = 100 * (rounding + _rounding(reference) * value / reference.value) / reference.value
        changes.setdefault(task, []).append((change, error))
    by_task = delta.metric in ("delta_m_task_percent", "delta_p_percent")
    groups = list(changes.values()) if by_task else [[pair for pairs in changes.values() for pair in pairs]]
    mean, error = np.mean([np.mean(group, axis=0) for group in groups], axis=0)
    sign = -1 if delta.metric.startswith("delta_m") else 1
    return Recomputed(delta, sign * float(mean), _rounding(delta) + float(error))


def _rounding(printed: Printed) -> float:
    """Half a unit of the last printed digit."""
    return 0.5 * 10.0 ** -len(printed.text.partition(".")[2])
