"""`history.csv`: one row per epoch with task losses, weights, learning rate and validation losses."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from mtcp.core.errors import UserError
from mtcp.core.files import write_text

#: Columns with one value per task: prefix + task.
LOSS: Final = "loss_"
WEIGHT: Final = "weight_"
VALIDATION_LOSS: Final = "validation_loss_"


def write_history(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write one row per epoch; a column that an epoch lacks stays empty there."""
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["epoch"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def untrained_tasks(rows: Sequence[Mapping[str, float]], tasks: Sequence[str]) -> list[str]:
    """Return the tasks that were not trained in any epoch.

    In every epoch such a task had no loss (no valid pixel), or an effective weight that was 0 or missing (no gradient).
    Where a custom scheme records no weights, only the losses count.
    """
    recorded = any(f"{WEIGHT}{task}" in row for row in rows for task in tasks)

    def taught(row: Mapping[str, float], task: str) -> bool:
        weight = row.get(f"{WEIGHT}{task}", math.nan) if recorded else 1.0
        return f"{LOSS}{task}" in row and weight != 0 and not math.isnan(weight)

    return [task for task in tasks if rows and not any(taught(row, task) for row in rows)]


def read_history(path: Path) -> list[dict[str, float]]:
    """Read what `write_history` wrote, without empty cells; raises `UserError` where the file is damaged."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(stream)]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): remove {path.parent} and run the pipeline again") from error
