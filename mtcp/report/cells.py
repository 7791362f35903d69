"""Columns, rows and cells of the tables of results."""

from math import isfinite
from typing import Any, Final

import pandas as pd

from mtcp.analysis.comparisons import COST, MULTI_TASK, PRIMARY, primary
from mtcp.analysis.rows import rows_of
from mtcp.core.tasks import UNTRAINED
from mtcp.core.words import counted
from mtcp.report.formats import display, higher_is_better
from mtcp.report.marks import FLAG_MARK, GAP_MARK, flags
from mtcp.report.page import Page

EMPTY: Final[dict[str, Any]] = {"text": "–", "value": "", "sd": "", "more": "", "mark": "", "gap": ""}
Column = tuple[str, str]
Cell = dict[str, Any]
#: By method, task and metric.
Cells = dict[tuple[str, str, str], Cell]


def task_columns(page: Page) -> list[Column]:
    """Return (task, primary metric) of every task."""
    return [(task.name, task.metric) for task in page.tasks]


def column_of(task: str, metric: str, page: Page) -> dict[str, str]:
    """Return the heading of a column: title, detail, and the initial sort direction."""
    shown = display(task, metric, page.benchmark)
    label = shown.label
    known = {each.name: each for each in page.tasks}
    higher = higher_is_better(task, metric, page.benchmark)
    title = known[task].label if task in known else label.capitalize() if task == COST else label
    detail = f"{shown.heading if task in known else shown.unit} {'↑' if higher else '↓'}".strip()
    return {"title": title, "detail": detail, "first": "descending" if higher else "ascending"}


def cells_of(page: Page, rank: str | None) -> Cells:
    """Return {(method, task, metric): cell} of the primary selection and output, and of the costs.

    `rank`: the column of summary.csv by which the best are marked; None marks none.
    """
    rows = rows_of(primary(page.tables["summary"], costs=True))
    return {(row.method, row.task, row.metric): cell_of(row, page, rank and getattr(row, rank)) for row in rows}


def marked(cells: Cells, methods: pd.DataFrame) -> Cells:
    """Add the flag mark to the cells of tasks that a method never trained, and to its change over all tasks."""
    flagged = {row.method: flags(row) for row in methods.itertuples()}

    def untrained(method: str, task: str) -> bool:
        prefix = UNTRAINED if task == MULTI_TASK else f"{UNTRAINED}{task}"
        return any(flag.startswith(prefix) for flag in flagged[method])

    return {
        (method, task, metric): {**cell, "text": cell["text"] + FLAG_MARK} if untrained(method, task) else cell
        for (method, task, metric), cell in cells.items()
    }


def cell_of(row: Any, page: Page, place: Any = None) -> Cell:
    """Return the cell for a row of summary.csv, marked if its rank `place` is 1 or 2.

    A mean over fewer seeds than the method has with results is marked too, and `gap` says over how many it is.
    """
    seeds = page.finished[row.method]
    # Costs measured apart from the grid stand on rounds.
    gap = f"{row.n} of {counted(seeds, 'seed')}" if row.n < seeds and row.task != COST else ""
    shown, change = display(row.task, row.metric, page.benchmark), row.task == MULTI_TASK
    spread = shown.number(row.sd) if isfinite(row.sd) else ""
    more = shown.interval(row.low, row.high) if change and isfinite(row.low) else ""
    text = shown.number(row.mean, signed=change)
    if change and row.method == page.benchmark.baseline and row.output == PRIMARY["output"]:
        text, spread, more = "0", "", ""  # against itself, by definition
    if row.task == COST:  # only on the page: in print there is no room for it
        spread, more = "", f"± {spread}" if row.sd > 0 else ""
    return {
        "text": text + (GAP_MARK if gap else ""),
        "value": plain(row.mean),
        "sd": spread,
        "more": more,
        "mark": {1: "best", 2: "runner-up"}.get(place, "") if pd.notna(place) else "",
        "gap": gap,
    }


def table_row(row: Any, cells: list[Cell], page: Page) -> dict[str, Any]:
    """Return the row of a method (`row`: its row of methods.csv) with its cells."""
    kind = "trivial" if row.family == "trivial" else "reference" if row.method == page.benchmark.reference else ""
    note = "" if row.finished == row.seeds else f"n = {row.finished}"
    return {
        "label": row.label,
        "mark": page.marks[row.method],
        "kind": kind,
        "note": note,
        "cells": cells,
        "rule": False,
    }


def plain(value: float) -> str:
    """Return a number as text for sorting; empty if it is not finite."""
    return f"{value:.9g}" if isfinite(value) else ""
