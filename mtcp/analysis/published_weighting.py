"""Published results of the loss-weighting literature, from `results/published_weighting.csv`.

mIoU, PixAcc and within_* are in per cent, angles in degrees. Five summaries:

========================  ==================================================  ========
delta_m_percent           mean over all metrics, fixed base                   lower
delta_m_task_percent      mean over tasks of the mean over their metrics      lower
delta_p_percent           the same                                            higher
delta_p_metric_percent    mean over all metrics                               higher
delta_p_3metric_percent   mean over three metrics, one per task               higher
========================  ==================================================  ========
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mtcp.core.errors import UserError
from mtcp.core.published import read_published

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


#: The numbers of one method's row by (task, metric).
Row = Mapping[tuple[str, str], Printed]


def read_printed(path: Path) -> list[Printed]:
    """Read the file; raises `UserError` like `read_published`, and for an unknown metric."""
    found = []
    for line, fields in read_published(path):
        printed = Printed(text=fields.pop("value"), line=line, **fields)
        if printed.metric not in METRICS.get(printed.task, ()):
            known = "; ".join(f"{task}: {', '.join(names)}" for task, names in METRICS.items())
            raise UserError(
                f"{path}, line {line}: metric '{printed.metric}' of task '{printed.task}' is unknown; known are {known}"
            )
        found.append(printed)
    return found


def rows_of(published: Sequence[Printed]) -> dict[tuple[str, str, str, str], dict[tuple[str, str], Printed]]:
    """Return the metrics (without summaries) of every method's row, in the order of the file."""
    rows: dict[tuple[str, str, str, str], dict[tuple[str, str], Printed]] = {}
    for one in published:
        if one.task != "multi-task":
            rows.setdefault(one.row, {})[one.task, one.metric] = one
    return rows
