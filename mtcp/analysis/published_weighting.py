"""Published results of the loss-weighting literature, and its printed Deltas recomputed.

`results/published_weighting.csv` has one printed number per row: dataset, task, metric, method, backbone, value (with
the printed digits) and source. mIoU, PixAcc and within_* are in per cent, angles in degrees. Five summaries:

========================  ==================================================  ========
delta_m_percent           mean over all metrics, fixed base                   lower
delta_m_task_percent      mean over tasks of the mean over their metrics      lower
delta_p_percent           the same                                            higher
delta_p_metric_percent    mean over all metrics                               higher
delta_p_3metric_percent   mean over three metrics, one per task               higher
========================  ==================================================  ========
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mtcp.core.errors import UserError
from mtcp.metrics.multi_task import relative_change

FILE: Final = "results/published_weighting.csv"
COLUMNS: Final = ("dataset", "task", "metric", "method", "backbone", "value", "source")
HIGHER: Final = frozenset({"mIoU", "PixAcc", "within_11.25", "within_22.5", "within_30"})
#: Metric names of each task as printed; the summaries have the task "multi-task".
METRICS: Final = {
    "semseg": ("mIoU", "PixAcc"),
    "depth": ("AbsErr", "RelErr"),
    "normals": ("mean", "median", "within_11.25", "within_22.5", "within_30"),
    "multi-task": (
        "delta_m_percent", "delta_m_task_percent", "delta_p_percent", "delta_p_metric_percent",
        "delta_p_3metric_percent",
    ),
}  # fmt: skip
SEGNET: Final = "SegNet-MTAN"
_SINGLE: Final = ("STL", "Single")


@dataclass(frozen=True)
class Printed:
    """One printed number; `text` keeps its digits, `line` is its line in the file."""

    dataset: str
    task: str
    metric: str
    method: str
    backbone: str
    text: str
    source: str
    line: int

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def paper(self) -> str:
        """The source without the table's number, shared by all rows of a paper."""
        return self.source.split(" Table")[0]

    @property
    def row(self) -> tuple[str, str, str, str]:
        """The key of the method's row in a table."""
        return self.dataset, self.backbone, self.method, self.source

    @property
    def rounding(self) -> float:
        """Half a unit of the last printed digit."""
        return 0.5 * 10.0 ** -len(self.text.partition(".")[2])


#: The numbers of one method's row by (task, metric).
Row = Mapping[tuple[str, str], Printed]


@dataclass(frozen=True)
class Recomputed:
    """A printed Delta, its value recomputed from the row's printed numbers, and the tolerance for rounding."""

    printed: Printed
    value: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        return abs(self.value - self.printed.value) <= self.tolerance + 1e-9


def read_published(path: Path) -> list[Printed]:
    """Read the file; raises `UserError` naming the line for a wrong task, metric or value, a gap or a duplicate."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream, strict=True)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise UserError(f"{path} must have the columns {', '.join(COLUMNS)}, got {reader.fieldnames}")
            entries = [(reader.line_num, entry) for entry in reader]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: it belongs to the project; restore it") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid CSV: {error}") from error
    found: dict[tuple[str, ...], Printed] = {}
    for line, entry in entries:
        printed = _printed(entry, line, f"{path}, line {line}")
        key = (*printed.row, printed.task, printed.metric)
        if key in found:
            raise UserError(f"{path}, line {line}: the same number stands in line {found[key].line}; remove one")
        found[key] = printed
    return list(found.values())


def _printed(entry: dict[str, str | None], line: int, where: str) -> Printed:
    absent = [name for name in COLUMNS if not (entry.get(name) or "").strip()]
    if absent or None in entry:
        raise UserError(
            f"{where}: {', '.join(absent) or 'too many columns'}: every number needs all {len(COLUMNS)} fields"
        )
    fields = {name: str(entry[name]) for name in COLUMNS}
    text = fields.pop("value")
    try:
        finite = bool(np.isfinite(float(text))) and "e" not in text.lower()
    except ValueError:
        finite = False
    if not finite:
        raise UserError(f"{where}: value '{text}' is not a decimal number; write it as it is printed")
    if fields["metric"] not in METRICS.get(fields["task"], ()):
        known = "; ".join(f"{task}: {', '.join(names)}" for task, names in METRICS.items())
        raise UserError(
            f"{where}: metric '{fields['metric']}' of task '{fields['task']}' is unknown; known are {known}"
        )
    return Printed(**fields, text=text, line=line)


def rows_of(published: Sequence[Printed]) -> dict[tuple[str, str, str, str], dict[tuple[str, str], Printed]]:
    """Return the metrics (without summaries) of every method's row, in the order of the file."""
    rows: dict[tuple[str, str, str, str], dict[tuple[str, str], Printed]] = {}
    for one in published:
        if one.task != "multi-task":
            rows.setdefault(one.row, {})[one.task, one.metric] = one
    return rows


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
        value, rounding = (round(one.value, 2), 0.005) if cut else (one.value, one.rounding)
        reference = base[task, metric]
        change = float(relative_change(value, reference.value, metric in HIGHER))
        error = 100 * (rounding + reference.rounding * value / reference.value) / reference.value
        changes.setdefault(task, []).append((change, error))
    by_task = delta.metric in ("delta_m_task_percent", "delta_p_percent")
    groups = list(changes.values()) if by_task else [[pair for pairs in changes.values() for pair in pairs]]
    mean, error = np.mean([np.mean(group, axis=0) for group in groups], axis=0)
    sign = -1 if delta.metric.startswith("delta_m") else 1
    return Recomputed(delta, sign * float(mean), delta.rounding + float(error))
