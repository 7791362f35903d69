"""LaTeX tables for papers (booktabs, siunitx), from paper.csv, for \\input in a two-column paper."""

from math import isfinite
from typing import Any, Final

import pandas as pd

from mtcp.analysis.comparisons import COST, MULTI_TASK
from mtcp.analysis.paper_tables import PARTS
from mtcp.analysis.rows import rows_of
from mtcp.core.config import Benchmark
from mtcp.core.words import counted
from mtcp.report.formats import Display, display, higher_is_better

CAPTIONS: Final = {
    "main": "Comparison",
    "weighting": "Loss weighting in the same network",
    "ablation": "Ablation",
    "kappa": "Spread of the weights of LPS",
    "encoder": "Architectures at equal encoder",
    "gflops": "Architectures at equal GFLOPs, within 5 % of the reference's,",
}


def paper_view(paper: pd.DataFrame, benchmark: str, settings: Benchmark, baseline: str) -> list[dict[str, Any]]:
    """Return the tables for the templates: caption with n, columns with units, rows with cells and ticks."""
    found = []
    for name, rows in paper.groupby("table", sort=False):
        keys = list(dict.fromkeys(zip(rows.task, rows.metric, strict=True)))
        cells = {(row.method, row.task, row.metric): row for row in rows.itertuples()}
        narrow = name == "ablation"  # ticks replace spreads and costs
        keys = [key for key in keys if not (narrow and key[0] == COST)]
        columns = [_column(task, metric, rows, narrow, settings) for task, metric in keys]
        coherent = " and Δc" if (MULTI_TASK, "delta_coherence") in keys else ""
        counts = sorted({int(n) for n in rows[rows.task != COST].n})
        spread = "mean" if narrow or counts == [1] else "mean ± standard deviation"
        bold = (
            "Bold: the best, and what an exact paired test (Holm, 5 %) cannot tell from it."
            if rows.best.astype(str).eq("True").any()
            else "Nothing is bold: an exact paired test (Holm, 5 %) needs more seeds to tell any two apart."
        )
        seeds = counted(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
        found.append(
            {
                "name": name,
                "label": f"tab:{benchmark}-{name}",
                "caption": f"{CAPTIONS[str(name)]} on {settings.label}: {spread} over n = {seeds}. {bold} "
                f"Δm{coherent}: mean relative change against {baseline} of the same seed.",
                "parts": list(PARTS) if name == "ablation" else [],
                "kappa": name == "kappa",
                "columns": columns,
                "rows": [
                    {
                        "label": row.label,
                        "ticks": [part in str(row.parts).split(";") for part in PARTS] if name == "ablation" else [],
                        "kappa": f"{row.kappa:g}" if name == "kappa" and isfinite(row.kappa) else "",
                        "cells": [
                            _cell(cells.get((row.method, *key)), display(*key, settings), narrow) for key in keys
                        ],
                    }
                    for row in rows_of(rows.drop_duplicates("method"))
                ],
            }
        )
    return found


def _column(task: str, metric: str, rows: pd.DataFrame, narrow: bool, settings: Benchmark) -> dict[str, str]:
    known = {each.name: each for each in settings.task_list}
    shown = display(task, metric, settings)
    own = rows[(rows.task == task) & (rows.metric == metric)]
    whole = max((len(f"{abs(value * shown.scale):.0f}") for value in own["mean"]), default=1)
    sign = "+" if task == MULTI_TASK else ""
    spread = max((value * shown.scale for value in own.sd.dropna()), default=0.0)
    spread = 0.0 if narrow or task == COST else spread
    digits = len(f"{spread:.{shown.digits}f}".replace(".", "").lstrip("0")) or 1
    return {
        "title": known[task].label if task in known else shown.label.capitalize() if task == COST else shown.label,
        "detail": shown.heading if task in known else shown.unit,
        "arrow": "↑" if higher_is_better(task, metric, settings) else "↓",
        "format": f"{sign}{whole}.{shown.digits}" + (f"({digits})" if spread else ""),
    }


def _cell(row: Any, shown: Display, narrow: bool) -> dict[str, Any]:
    if row is None:
        return {"mean": "", "sd": "", "best": False}
    has_spread = not narrow and row.task != COST and row.sd > 0
    return {
        "mean": _typed(shown.number(row.mean, signed=row.task == MULTI_TASK)),
        "sd": _typed(shown.number(row.sd)) if has_spread else "",
        "best": str(row.best) == "True",
    }


def _typed(number: str) -> str:
    """A number as LaTeX's siunitx reads it."""
    return number.replace("−", "-").replace(",", "")
