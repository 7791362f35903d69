"""Write the tables of docs/findings.md and README.md from the archives in results/reference.

    python examples/photographs/findings.py            # rewrites both
    python examples/photographs/findings.py --check    # ends with status 1 where that would change one

Each table is between `<!-- ARCHIVE TABLE -->` and `<!-- end -->`. Everything is computed from the archives' tables.
"""

import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from mtcp.analysis.comparisons import COST, MULTI_TASK, PRIMARY, TRUTH, primary
from mtcp.analysis.rows import rows_of
from mtcp.analysis.tables import read_table
from mtcp.analysis.versions import with_change
from mtcp.core.project import Project
from mtcp.core.project_files import REFERENCE, TABLES
from mtcp.metrics.coherence import COHERENCE
from mtcp.report.cells import task_columns
from mtcp.report.formats import difference, display
from mtcp.report.page import Page
from mtcp.store.archive import archived_benchmark

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/findings.md", ROOT / "README.md"
_BLOCK = re.compile(r"(<!-- (\w+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def measures(page: Page) -> list[tuple[str, str]]:
    """Task and primary metric of each task, and Delta_m."""
    return [*task_columns(page), (MULTI_TASK, "delta_m")]


def claims(page: Page) -> list[list[str]]:
    """Every claim with a pair of runs: verdict, improvement, interval, seeds, detectable effect."""
    rows = [["claim", "verdict", "improvement", "Holm interval", "n (least)", "detectable"]]
    for row in rows_of(page.tables["claims"]):
        if not row.n > 0:
            continue
        shown = difference(str(row.task), str(row.metric), page.benchmark)
        rows.append(
            [
                row.text.rstrip("."),
                row.verdict,
                f"{shown.number(row.improvement, signed=True)} {shown.unit}".strip(),
                shown.interval(row.holm_low, row.holm_high),
                f"{row.n:.0f} ({row.least_n:.0f})",
                f"{shown.number(row.detectable)} {shown.unit}".strip(),
            ]
        )
    return rows


def results(page: Page) -> list[list[str]]:
    """Mean and standard deviation over seeds of every method: final output of the last epoch."""
    summary = page.tables["summary"]
    columns = [*measures(page), (MULTI_TASK, "delta_coherence")]
    return _means(page, primary(summary), columns)


def costs(page: Page) -> list[list[str]]:
    """Parameters, operations and seconds of every method, as the grid measured them."""
    summary = page.tables["summary"]
    columns = [(COST, name) for name in ("parameters", "gflops", "seconds_per_step", "seconds_per_image")]
    return _means(page, summary[summary.task == COST], columns)


def coherence(page: Page) -> list[list[str]]:
    """Coherence between the predictions of every method, with the ground truths last."""
    summary = page.tables["summary"]
    rows = summary[(summary.selection == PRIMARY["selection"]) & (summary.task == COHERENCE)]
    columns = [
        (COHERENCE, name) for name in dict.fromkeys(rows.metric) if rows[rows.metric == name]["mean"].notna().any()
    ]
    found = _means(page, primary(rows), columns)
    truth = rows[rows.output == TRUTH].drop_duplicates("metric").set_index("metric")["mean"]
    shown = [display(task, metric, page.benchmark) for task, metric in columns]
    own = [each.number(truth[metric]) for each, (_, metric) in zip(shown, columns, strict=True)]
    return [*found, ["Ground truth", *own]]


def _means(page: Page, rows: pd.DataFrame, columns: list[tuple[str, str]]) -> list[list[str]]:
    shown = [display(task, metric, page.benchmark) for task, metric in columns]
    heads = [f"{_named(task, page)}{each.heading}" for each, (task, _) in zip(shown, columns, strict=True)]
    found = [["method", *heads]]
    for method, label in page.labels.items():
        own = rows[rows.method == method].set_index(["task", "metric"])
        cells = []
        for each, key in zip(shown, columns, strict=True):
            if key not in own.index or not np.isfinite(own["mean"][key]):
                cells.append("")
                continue
            spread = own["sd"][key]
            signed = key[0] == MULTI_TASK
            cells.append(
                each.number(own["mean"][key], signed=signed) + (f" ± {each.number(spread)}" if spread > 0 else "")
            )
        if any(cells):
            found.append([label, *cells])
    return found


def shares(page: Page) -> list[list[str]]:
    """Shares of the variance over trained methods x seeds: two-way layout, one run per cell.

    x_ms = mean + method_m + seed_s + rest_ms; each share is its sum of squares over the total.
    """
    methods = page.tables["methods"]
    trained = set(methods[methods.family != "trivial"].method)
    final = primary(with_change(page.tables))
    final = final[final.method.isin(trained)]
    rows = [["measure", "methods %", "seeds %", "rest %"]]
    for task, metric in measures(page):
        own = final[(final.task == task) & (final.metric == metric)]
        grid = own.pivot_table(index="method", columns="seed", values="value").dropna(axis=1)
        if task == MULTI_TASK:
            grid = grid.drop(index=page.benchmark.baseline, errors="ignore")  # 0 by definition
        centred = grid.to_numpy() - grid.to_numpy().mean()
        by_method, by_seed = centred.mean(1, keepdims=True), centred.mean(0, keepdims=True)
        parts = [
            (by_method**2).sum() * centred.shape[1],
            (by_seed**2).sum() * centred.shape[0],
            ((centred - by_method - by_seed) ** 2).sum(),
        ]
        shown = display(task, metric, page.benchmark)
        rows.append([_named(task, page) + shown.label, *(f"{100 * part / sum(parts):.0f}" for part in parts)])
    return rows


def weights(page: Page) -> list[list[str]]:
    """Mean weight of every task in the first and the last epoch, and the share of epochs in which it is negative."""
    history, tasks = read_table(page.project.root / TABLES / page.name / "history.csv"), page.tasks
    rows = [["method", *(f"{task.label}: first, last epoch; negative" for task in tasks)]]
    for method, label in page.labels.items():
        own = history[history.method == method]
        cells = []
        for task in tasks:
            weight = own[own.column == f"weight_{task.name}"]
            if weight.empty:
                continue
            by_epoch = weight.groupby("epoch").value.mean()
            negative = 100 * (weight.value < 0).mean()
            cells.append(f"{by_epoch.iloc[0]:.3g}, {by_epoch.iloc[-1]:.3g}; {negative:.0f} %")
        if len(set(cells)) > 1:
            rows.append([label, *cells])
    return rows


def _named(task: str, page: Page) -> str:
    return next((f"{each.label}, " for each in page.tasks if each.name == task), "")


TABLE_OF: dict[str, Callable[[Page], list[list[str]]]] = {
    function.__name__: function for function in (claims, results, costs, coherence, shares, weights)
}


@cache
def archived(name: str) -> Page:
    """The tables of one archived benchmark."""
    folder = ROOT / REFERENCE / name
    return Page.read(Project(folder), archived_benchmark(folder))


def markdown(rows: list[list[str]]) -> str:
    """The rows as a Markdown table, with the first row as header."""
    head, *body = [f"| {' | '.join(cells)} |\n" for cells in rows]
    return "".join([head, "|---" * len(rows[0]) + "|\n", *body])


def main() -> int:
    check, changed = "--check" in sys.argv[1:], False
    for page in PAGES:
        text = page.read_text()
        written = _BLOCK.sub(lambda found: found[1] + markdown(TABLE_OF[found[3]](archived(found[2]))) + found[4], text)
        changed |= written != text
        if not check:
            page.write_text(written)
    return int(check and changed)


if __name__ == "__main__":
    sys.exit(main())
