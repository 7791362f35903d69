"""The statistics section: every comparison with its interval, test and verdict, by family."""

from math import isfinite
from typing import Any

import pandas as pd

from mtcp.analysis.comparisons import measures
from mtcp.core.words import counted
from mtcp.report.cells import plain
from mtcp.report.formats import difference, display, probability
from mtcp.report.page import Page
from mtcp.report.verdicts import posterior


def families(page: Page) -> list[dict[str, Any]]:
    """Return the comparisons of every family with its size, least n and ROPE."""
    compared, benchmark = page.tables["comparisons"], page.benchmark
    known = {(each.task, each.metric): name for name, each in measures(benchmark).items()}
    names = {task.name: f"{task.label} ({display(task.name, task.metric, benchmark).label})" for task in page.tasks}
    if compared.empty:
        return []
    found = []
    for _, rows in compared.groupby("family", sort=False):
        first = rows.iloc[0]
        shown = difference(first.task, first.metric, benchmark)
        measure = names.get(known[first.task, first.metric], display(first.task, first.metric, benchmark).label)
        found.append(
            {
                "title": f"{measure}, against {page.labels[first.reference]}",
                "note": f"{counted(int(first.family_size), 'comparison')} · least n {first.least_n} · "
                f"ROPE ±{shown.number(first.rope)} {shown.unit}",
                "rows": [_compared(row, page) for row in rows.itertuples()],
            }
        )
    return found


def _compared(row: Any, page: Page) -> dict[str, Any]:
    shown = difference(row.task, row.metric, page.benchmark)
    mixed = " (mixed environments)" if row.environments == "mixed" else ""
    return {
        "label": page.labels[row.method] + mixed,
        "mark": page.marks[row.method],
        "improvement": shown.number(row.improvement, signed=True),
        "value": plain(row.improvement),
        "sd": shown.number(row.sd) if isfinite(row.sd) else "",
        "interval": shown.interval(row.low, row.high),
        "holm_interval": shown.interval(row.holm_low, row.holm_high),
        "image_interval": shown.interval(row.image_low, row.image_high),
        "p": probability(row.p),
        "p_value": plain(row.p),
        "p_holm": probability(row.p_holm),
        "p_holm_value": plain(row.p_holm),
        "improves": probability(row.probability_of_improvement),
        "improves_value": plain(row.probability_of_improvement),
        "n": row.n,
        "detectable": shown.number(row.detectable),
        "detectable_value": plain(row.detectable),
        "conclusion": row.conclusion,
        **posterior(row),
    }


def statistics_note(compared: pd.DataFrame) -> str:
    """Return how many seeds a conclusion needs, and whether the grid has them, in words."""
    if compared.empty:
        return "Nothing to compare: the grid holds neither the reference nor the baseline beside other methods."
    most, least, size = int(compared.n.max()), int(compared.least_n.max()), int(compared.family_size.max())
    verdict = (
        f"this grid has up to {most}, and can therefore conclude none of them, however large a difference looks."
        if most < least
        else f"this grid has up to {most}."
    )
    return (
        f"All comparisons are paired by seed. The exact test needs at least {least} seeds before a family of "
        f"{counted(size, 'comparison')} can be concluded at {100 * compared.alpha.max():g} % after Holm's correction; "
        f"{verdict}"
    )
