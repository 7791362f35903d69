"""Sources of the numbers: published results, and the runs behind every row."""

from typing import Any, Final

import pandas as pd

from mtcp.report.page import Page

#: Task and metric in results/published.csv -> heading, detail; also the order of the columns.
_HEADINGS: Final = {
    ("semseg", "mIoU"): ("Segmentation", "mIoU % ↑"),
    ("depth", "RMSE"): ("Depth", "RMSE m ↓"),
    ("human_parts", "mIoU"): ("Human parts", "mIoU % ↑"),
    ("saliency", "mIoU"): ("Saliency", "mIoU % ↑"),
    ("saliency", "maxF"): ("Saliency", "max F % ↑"),
    ("normals", "mErr"): ("Normals", "mean angle ° ↓"),
    ("normals", "RMSE_deg_or_mErr_as_reported"): ("Normals", "RMS or mean angle ° ↓"),
    ("boundary", "odsF"): ("Edges", "odsF % ↑"),
    ("multi-task", "delta_m_percent"): ("Δm", "% ↑"),
    ("model", "params_M"): ("Parameters", "M ↓"),
    ("model", "GFLOPs"): ("Operations", "GFLOP ↓"),
}


def literature(published: pd.DataFrame) -> dict[str, Any] | None:
    """Return the published numbers, one row per method, backbone and source; None if there are none."""
    if published.empty:
        return None
    known = list(_HEADINGS)
    columns = list(dict.fromkeys(zip(published.task, published.metric, strict=True)))
    columns.sort(key=lambda column: known.index(column) if column in known else len(known))
    rows = []
    for (method, backbone, source), group in published.groupby(["method", "backbone", "source"], sort=False):
        values = dict(zip(zip(group.task, group.metric, strict=True), group.value, strict=True))
        cells = [f"{values[column]:g}" if column in values else "" for column in columns]
        rows.append({"method": method, "backbone": backbone, "source": source, "cells": cells})
    return {"dataset": published.dataset.iloc[0], "columns": [_heading(*column) for column in columns], "rows": rows}


def _heading(task: str, metric: str) -> dict[str, str]:
    title, detail = _HEADINGS.get((task, metric), (task, metric))
    return {"title": title, "detail": detail, "first": "ascending" if detail.endswith("↓") else "descending"}


def provenance(page: Page) -> list[dict[str, str]]:
    """Return every run with its keys, code, data and environment, as text."""
    runs = page.tables["provenance"].astype(object).fillna("")
    return [_run(row, page.labels) for row in runs.itertuples()]


def _run(row: Any, labels: dict[Any, str]) -> dict[str, str]:
    return {
        "method": labels[row.method],
        "seed": row.seed,
        "status": row.status,
        "reason": row.reason,
        "flags": str(row.flags).replace("_", " ").replace(";", ", "),
        "train_key": row.train_key,
        "eval_key": row.eval_key,
        "commit": str(row.commit)[:10] + ("+" if str(row.dirty) == "True" else ""),
        "data": str(row.data_digest)[:12],
        "data_note": row.data_note,
        "environment": row.environment,
        "processor": row.processor,
        "seconds": f"{row.train_seconds:.0f}" if row.train_seconds != "" else "",
        "finished": str(row.finished)[:16].replace("T", " "),
    }
