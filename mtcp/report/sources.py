"""Sources of the numbers: published results, and the runs behind every row."""

from typing import Any

import pandas as pd

from mtcp.report.page import Page


def literature(published: pd.DataFrame) -> dict[str, Any] | None:
    """Return the published numbers, one row per method, backbone and source; None if there are none."""
    if published.empty:
        return None
    published = published.assign(column=published.task + " " + published.metric)
    columns = list(dict.fromkeys(published.column))
    rows = []
    for (method, backbone, source), group in published.groupby(["method", "backbone", "source"], sort=False):
        values = dict(zip(group.column, group.value, strict=True))
        cells = [f"{values[column]:g}" if column in values else "" for column in columns]
        rows.append({"method": method, "backbone": backbone, "source": source, "cells": cells})
    return {"dataset": published.dataset.iloc[0], "columns": columns, "rows": rows}


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
