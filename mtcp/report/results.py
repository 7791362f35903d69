"""The result tables: comparison, ablation, coherence, and further results besides the primary ones."""

from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any, Final

import pandas as pd

from mtcp.analysis.comparisons import COST, MULTI_TASK, TRUTH
from mtcp.analysis.rows import rows_of
from mtcp.metrics.coherence import COHERENCE
from mtcp.report.cells import EMPTY, Cells, Column, cell_of, cells_of, column_of, marked, plain, table_row, task_columns
from mtcp.report.formats import display
from mtcp.report.marks import legend
from mtcp.report.page import Page
from mtcp.report.verdicts import OUTPUTS

_COSTS: Final = ("parameters", "gflops", "seconds_per_image", "seconds_per_step", "peak_memory_mb")
_SELECTIONS: Final = {
    "last": "Last epoch",
    "validation": "Best epoch on the validation split",
    "last_epochs_mean": "Mean over the last epochs",
    "best_on_test": "Best epoch on the test images (optimistic: test was looked at)",
}


def comparison(page: Page) -> dict[str, Any]:
    """Return the table of all methods except ablations, with trivial baselines last."""
    methods = page.methods
    trivial = methods.family == "trivial"
    shown = pd.concat([methods[~trivial & (methods.family != "ablation")], methods[trivial]])
    columns = [*task_columns(page), (MULTI_TASK, "delta_m"), *((COST, metric) for metric in _COSTS)]
    cells = marked(cells_of(page, "rank"), methods)
    table = _table(page, columns, shown, cells, [*legend(shown), *_chosen(shown)])
    # Name, detail, scale, and the value that means that nothing was tuned.
    tuning = [("configurations", "configs", 1, 1)]
    tuning += [(f"tuning_{kind}_seconds", f"{kind.upper()} min", 60, 0) for kind in ("cpu", "gpu")]
    tuning = [column for column in tuning if (methods[column[0]] > column[-1]).any()]
    table["columns"] += [{"title": "Tuning", "detail": detail, "first": "ascending"} for _, detail, _, _ in tuning]
    for row, own in zip(rows_of(shown), table["rows"], strict=True):
        own["cells"] += [_tuning_cell(getattr(row, name), scale) for name, _, scale, _ in tuning]
    if first := next((row for row in table["rows"] if row["kind"] == "trivial"), None):
        first["rule"] = True
    return table


def _table(
    page: Page, columns: list[Column], methods: pd.DataFrame, cells: Cells, notes: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the table of `methods` by `columns`, with `notes` below it and what its cells' gaps are."""
    headings = [column_of(task, metric, page) for task, metric in columns]
    rows = [
        table_row(row, [cells.get((row.method, *column), EMPTY) for column in columns], page)
        for row in rows_of(methods)
    ]
    return {"columns": headings, "rows": rows, "legend": [*notes, *_gaps(headings, rows)]}


def _gaps(headings: list[dict[str, str]], rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield, for every row, the columns whose means cover fewer seeds than the method has with results."""
    for row in rows:
        gaps = [
            f"{heading['title']} {heading['detail']}".rstrip(" ↑↓") + f" over {cell['gap']}"
            for heading, cell in zip(headings, row["cells"], strict=True)
            if cell["gap"]
        ]
        if gaps:
            yield f"‡ {row['label']}: {', '.join(gaps)}"


def _tuning_cell(value: float, scale: int) -> dict[str, Any]:
    digits = 0 if scale == 1 else 1
    return {**EMPTY, "text": f"{value / scale:.{digits}f}" if isfinite(value) else "–", "value": plain(value)}


def _chosen(methods: pd.DataFrame) -> Iterator[str]:
    chosen = [f"{row.label}: {row.chosen}" for row in methods.itertuples() if isinstance(row.chosen, str)]
    if chosen:
        yield "Chosen by the loss on validation images: " + "; ".join(chosen) + "."


def ablation(page: Page) -> dict[str, Any]:
    """Return the table of the reference and its ablations, with the change of Delta_m."""
    benchmark, methods, compared = page.benchmark, page.methods, page.tables["comparisons"]
    shown = pd.concat([methods[methods.method == benchmark.reference], methods[methods.family == "ablation"]])
    columns = [*task_columns(page), (MULTI_TASK, "delta_m")]
    table = _table(page, columns, shown, marked(cells_of(page, "rank_ablation"), methods), legend(shown))
    table["columns"].append({"title": "Change of Δm", "detail": "points against the reference", "first": "descending"})
    changes = {}
    if len(compared):
        family = compared[compared.family == f"{benchmark.reference}/delta_m"]
        shown_as = display(MULTI_TASK, "delta_m")
        changes = {
            row.method: {
                **EMPTY,
                "text": shown_as.number(row.improvement, signed=True),
                "value": plain(row.improvement),
                "more": shown_as.interval(row.low, row.high) if isfinite(row.low) else "",
            }
            for row in rows_of(family)
        }
    for row, own in zip(rows_of(shown), table["rows"], strict=True):
        own["cells"].append(changes.get(row.method, EMPTY))
    return table


def coherence(page: Page) -> dict[str, Any] | None:
    """Return the table of coherence between tasks, with the ground truths as last row; None without such results.

    No cell is marked as best: coherent is not correct, and ablations, which are not ranked, stand in the same rows.
    """
    summary = page.tables["summary"]
    own = summary[(summary.task == COHERENCE) & (summary.selection == "last")]
    if own.empty:
        return None
    columns = [*((COHERENCE, metric) for metric in dict.fromkeys(own.metric)), (MULTI_TASK, "delta_coherence")]
    table = _table(page, columns, page.methods, cells_of(page, None))
    truth = own[own.output == TRUTH].drop_duplicates("metric")
    own_coherence = {row.metric: {**cell_of(row, page), "sd": ""} for row in rows_of(truth)}
    last = {
        "label": "Ground truth",
        "mark": "",
        "kind": "trivial",
        "note": "",
        "cells": [own_coherence.get(metric, EMPTY) for _, metric in columns],
        "rule": True,
    }
    table["rows"].append(last)
    table["legend"] += _gaps(table["columns"], [last])
    return table


def further(page: Page) -> list[dict[str, Any]]:
    """Return the results besides the primary ones: all metrics, other selections, other outputs."""
    summary, methods, tasks = page.tables["summary"], page.methods, page.tasks
    numbers = summary[summary.task != COST]
    found = []
    for (selection, output), rows in numbers[numbers.output != TRUTH].groupby(["selection", "output"], sort=False):
        selection, output = str(selection), str(output)
        main = (selection, output) == ("last", "final")
        primary = {(task.name, task.metric) for task in tasks} | {(MULTI_TASK, "delta_m")}
        columns = list(dict.fromkeys(zip(rows.task, rows.metric, strict=True)))
        if not main:
            columns = [column for column in columns if column in primary]
        cells = marked({(row.method, row.task, row.metric): cell_of(row, page) for row in rows_of(rows)}, methods)
        table = _table(page, columns, methods[methods.method.isin(rows.method)], cells)
        title = (
            "All metrics, last epoch"
            if main
            else f"{_SELECTIONS.get(selection, selection)}, {OUTPUTS.get(output, output)}"
        )
        found.append({"title": title, "table": table})
    return found
