"""`mtcp report --compare A B`: a comparison of two results as a page and as Markdown for a pull request."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from mtcp.analysis.comparisons import COST, measures
from mtcp.analysis.tables import to_csv
from mtcp.analysis.versions import compare_states, read_state
from mtcp.core.config import Benchmark
from mtcp.core.files import write_text
from mtcp.core.project import Project
from mtcp.core.project_files import REPORTS
from mtcp.report.formats import difference, display
from mtcp.report.templating import html_environment


def write_comparison(root: Path, before: str, after: str) -> list[Path]:
    """Write `reports/compare.html`, `.md` and `.csv` of two folders or commits; return the paths."""
    project = Project(root)
    states = [read_state(root, each) for each in (before, after)]
    first, second = (replace(state, name=name) for state, name in zip(states, _names(before, after), strict=True))
    table = compare_states(first, second, project)
    view = {"before": first.name, "after": second.name, "groups": _groups(table, project)}
    paths = [root / REPORTS / f"compare.{ending}" for ending in ("html", "md", "csv")]
    write_text(paths[0], html_environment().get_template("compare.html.j2").render(view))
    write_text(paths[1], html_environment(escape=False).get_template("compare.md.j2").render(view))
    write_text(paths[2], to_csv(table))
    return paths


def _names(before: str, after: str) -> tuple[str, str]:
    """Return what to call the two: folders by name, or by path where names are equal; commits as they were given."""
    places = [Path(each).resolve() if Path(each).is_dir() else Path(each) for each in (before, after)]
    first, second = (place.name if place.is_absolute() else str(place) for place in places)
    return (first, second) if first != second else (str(places[0]), str(places[1]))


def _groups(table: pd.DataFrame, project: Project) -> list[dict[str, Any]]:
    """Rows by benchmark; rows with equal keys and equal numbers are only counted."""
    groups, defined = [], project.benchmark_names()
    for name, rows in table.groupby("benchmark", sort=False):
        benchmark = project.benchmark(str(name)) if name in defined else None
        equal = (rows.same == True) & (rows.improvement == 0)  # noqa: E712  (the column also holds nothing)
        groups.append(
            {
                "title": benchmark.label if benchmark else name,
                "unchanged": int(equal.sum()),
                "rows": [_row(row, benchmark) for row in rows[~equal].itertuples()],
            }
        )
    return groups


def _row(row: Any, benchmark: Benchmark | None) -> dict[str, str]:
    if benchmark is None or not isinstance(row.task, str):
        empty = dict.fromkeys(("measure", "before", "after", "improvement", "interval"), "–")
        return {"method": row.method, **empty, "n": "0", "note": row.changed}
    shown, change = (how(row.task, row.metric, benchmark) for how in (display, difference))
    task = next((f"{each.label}: " for each in benchmark.task_list if each.name == row.task), "")
    return {
        "method": row.method,
        "measure": f"{task}{shown.label}" + (f" ({shown.unit})" if shown.unit else ""),
        "before": shown.number(row.before),
        "after": shown.number(row.after),
        "improvement": change.number(row.improvement, signed=True) + (" %" if row.task == COST else ""),
        "interval": change.interval(row.low, row.high),
        "n": str(int(row.n)),
        "note": _note(row, benchmark),
    }


def _note(row: Any, benchmark: Benchmark) -> str:
    if not row.same:
        return f"changed: {row.changed}"
    again = row.task == COST and not measures(benchmark)[row.metric].deterministic
    return "equal keys, measured again" if again else "equal keys, other numbers"
