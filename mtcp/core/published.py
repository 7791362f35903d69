"""Numbers from the literature: `results/published.csv`, one number with its source per row."""

import csv
import math
from io import StringIO
from pathlib import Path
from typing import Final

from mtcp.core.errors import UserError
from mtcp.core.files import read_utf8

#: What a data set is called there.
PUBLISHED_FOR: Final = {"nyud": "NYUD-v2", "pascal": "PASCAL-Context"}
COLUMNS: Final = ("dataset", "task", "metric", "method", "backbone", "value", "source")


def read_published(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table of published numbers, `value` as printed; none if there is no such file.

    Raises `UserError` naming the line where a column, the value or the source is missing, or the value is not a number.
    """
    if not path.exists():
        return []
    reader = csv.reader(StringIO(read_utf8(path)), strict=True)
    rows = []
    try:
        head = next(reader, [])
        if tuple(head) != COLUMNS:
            found = ", ".join(head) or "none"
            raise UserError(f"{path}, line 1: the columns must be {', '.join(COLUMNS)}, got {found}")
        rows += [_row(values, f"{path}, line {reader.line_num}") for values in reader if values]
    except csv.Error as error:
        raise UserError(f"{path}, after line {reader.line_num}: {error}; close every quote") from error
    return rows


def _row(values: list[str], where: str) -> dict[str, str]:
    if len(values) != len(COLUMNS):
        raise UserError(
            f"{where}: {len(values)} values where the {len(COLUMNS)} columns {', '.join(COLUMNS)} are expected; "
            "a number has a decimal point, and text with a comma stands in quotes"
        )
    row: dict[str, str] = dict(zip(COLUMNS, values, strict=True))
    if not row["value"].strip() or not row["source"].strip():
        raise UserError(f"{where}: every number needs a value and a source; complete it")
    try:
        number = float(row["value"])
    except ValueError as error:
        raise UserError(
            f"{where}, column 'value': '{row['value']}' is not a number; write it with a decimal point, without a unit"
        ) from error
    if not math.isfinite(number):
        raise UserError(f"{where}, column 'value': {row['value']} is not a number; leave the row out")
    return row
