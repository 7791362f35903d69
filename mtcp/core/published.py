"""Numbers from the literature as CSV: one number with its source per row, as printed."""

import csv
import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Final

from mtcp.core.errors import UserError
from mtcp.core.files import read_utf8
from mtcp.core.project_files import PUBLISHED

#: What a data set is called there.
PUBLISHED_FOR: Final = {"nyud": "NYUD-v2", "pascal": "PASCAL-Context"}
#: What the numbers of the literature measure, by task and metric of their rows: measure of a claim, its metrics (none:
#: it has no others), and the scale from the printed unit to ours.
MEANINGS: Final[dict[tuple[str, str], tuple[str, tuple[str, ...], float]]] = {
    ("semseg", "mIoU"): ("semseg", ("miou",), 0.01),
    ("human_parts", "mIoU"): ("human_parts", ("miou",), 0.01),
    ("saliency", "mIoU"): ("sal", ("max_miou",), 0.01),
    ("saliency", "maxF"): ("sal", ("max_f",), 0.01),
    ("depth", "RMSE"): ("depth", ("rmse", "rmse_capped"), 1.0),
    ("normals", "mErr"): ("normals", ("mean",), 1.0),
    ("normals", "RMSE_deg_or_mErr_as_reported"): ("normals", ("mean", "rmse"), 1.0),
    ("boundary", "odsF"): ("edge", ("ods_f",), 0.01),
    ("model", "params_M"): ("parameters", (), 1e6),
    ("model", "GFLOPs"): ("gflops", (), 1.0),
    ("multi-task", "delta_m_percent"): ("delta_m", (), 1.0),
}
COLUMNS: Final = ("dataset", "task", "metric", "method", "backbone", "value", "source")


def read_rows(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Return (line, row) of every row of a CSV file with exactly these columns.

    Raises `UserError` naming the line for other columns, another number of values, or an open quote, and where there is
    no such file.
    """
    if not path.exists():
        raise UserError(f"{path} is missing: it comes with mtcp's repository, in results/; copy it from there")
    reader = csv.reader(StringIO(read_utf8(path)), strict=True)
    rows = []
    try:
        head = next(reader, [])
        if head != list(columns):
            found = ", ".join(head) or "none"
            raise UserError(f"{path}, line 1: the columns must be {', '.join(columns)}, got {found}")
        for values in filter(None, reader):
            if len(values) != len(columns):
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(values)} values where the {len(columns)} columns "
                    f"{', '.join(columns)} are expected; a number has a decimal point, and text with a comma stands in "
                    "quotes"
                )
            rows.append((reader.line_num, dict(zip(columns, values, strict=True))))
    except csv.Error as error:
        raise UserError(f"{path}, after line {reader.line_num}: {error}; close every quote") from error
    return rows


def published_rows(root: Path) -> list[tuple[int, dict[str, str]]]:
    """Return (line, row) of the project's results/published.csv, `value` as printed; none if it has no such file."""
    path = root / PUBLISHED
    return read_published(path) if path.exists() else []


def read_published(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return (line, row) of a table of published numbers, `value` as printed.

    Raises `UserError` like `read_rows`, and where a field is empty, the value is not a number, or a number stands there
    twice.
    """
    rows = read_rows(path, COLUMNS)
    lines: dict[tuple[str, ...], int] = {}
    for line, row in rows:
        if absent := [name for name, text in row.items() if not text.strip()]:
            raise UserError(
                f"{path}, line {line}: {', '.join(absent)} missing: every number needs all columns; complete it"
            )
        if not re.fullmatch(r"[+-]?\d+(\.\d+)?", row["value"]):
            raise UserError(
                f"{path}, line {line}, column 'value': '{row['value']}' is not a number; write it as it is printed, "
                "with a decimal point, without a unit"
            )
        first = lines.setdefault(tuple(text for name, text in row.items() if name != "value"), line)
        if first != line:
            raise UserError(f"{path}, line {line}: line {first} has this number already; remove one")
    return rows
