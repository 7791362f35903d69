"""`history.csv`: one row per epoch with task losses, weights, learning rate and validation losses."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mtcp.core.errors import UserError
from mtcp.core.files import write_text

#: Columns with one value per task: prefix + task.
LOSS: Final = "loss_"
VALIDATION_LOSS: Final = "validation_loss_"


def write_history(path: Path, rows: Sequence[dict[str, float]]) -> None:
    """Write one row per epoch; a column that an epoch lacks stays empty there."""
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["epoch"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_history(path: Path) -> list[dict[str, float]]:
    """Read what `write_history` wrote, without empty cells; raises `UserError` where the file is damaged."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(stream)]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): remove {path.parent} and run the pipeline again") from error
