"""Comparison of two states of the results: two folders or two commits. Works on their tables, not on their runs."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from mtcp.analysis.comparisons import MULTI_TASK, Measure, by_seed, measures
from mtcp.analysis.statistics import t_interval
from mtcp.analysis.tables import TEXT, read_table
from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.project_files import TABLES
from mtcp.metrics.multi_task import relative_change

_NEEDED: Final = ("runs", "multi_task", "provenance")
#: What may explain a difference, from provenance.csv.
_CAUSES: Final = {
    "train_key": "training key", "eval_key": "evaluation key", "commit": "commit", "data_digest": "data",
    "weights_sha256": "weights", "environment": "environment",
}  # fmt: skip


@dataclass(frozen=True)
class State:
    """The tables of one state of the results: {benchmark: {table: its rows}}."""

    name: str
    benchmarks: dict[str, dict[str, pd.DataFrame]]


def read_state(root: Path, name: str) -> State:
    """Read the tables of a folder (a project, or a folder of tables) or of a commit of the repository at `root`.

    Raises `UserError` where there are none; a commit has tables only if they were committed.
    """
    folder = Path(name)
    if folder.is_dir():
        place = folder / TABLES if (folder / TABLES).is_dir() else folder
        found = {
            each.parent.name: {table: read_table(each.parent / f"{table}.csv") for table in _NEEDED}
            for each in sorted(place.glob("*/runs.csv"))
        }
    else:
        files = _git(root, name, "ls-tree", "-r", "--name-only", name, TABLES).splitlines()
        found = {
            path.split("/")[-2]: {
                table: pd.read_csv(
                    StringIO(_git(root, name, "show", f"{name}:{Path(path).parent}/{table}.csv")),
                    dtype=dict.fromkeys(TEXT, "str"),
                )
                for table in _NEEDED
            }
            for path in files
            if path.endswith("/runs.csv")
        }
    if not found:
        raise UserError(
            f"{name} holds no tables ({TABLES}/BENCHMARK/runs.csv): run `mtcp tables` there, or commit them"
        )
    return State(name, found)


def _git(root: Path, name: str, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"'{name}' is neither a folder nor a commit of {root} with tables: {done.stderr.strip()}")
    return done.stdout


def compare_states(before: State, after: State, project: Project) -> pd.DataFrame:
    """Return a row per benchmark x method x measure in both: means, paired difference with its 95 % t interval.

    `improvement` is after minus before, paired by seed, with the sign such that positive is better. `same`: every pair
    has equal keys, so a difference would be an error; otherwise `changed` lists what differs. Methods in only one state
    get a row without numbers.
    """
    rows = []
    for benchmark in sorted({*before.benchmarks, *after.benchmarks}):
        old, new = (state.benchmarks.get(benchmark) for state in (before, after))
        tables = [with_change(side) for side in (old, new) if side is not None]
        methods = dict.fromkeys(name for table in tables for name in table.method)
        known = measures(project.benchmark(benchmark))
        for method in methods:
            lacking = [
                state.name
                for state, side in zip((before, after), (old, new), strict=True)
                if side is None or method not in set(side["runs"].method)
            ]
            head = {"benchmark": benchmark, "method": method}
            if lacking or old is None or new is None:
                rows.append({**head, "changed": f"not in {lacking[0]}"})
                continue
            changed = _changes(old, new, method)
            for measure in known.values():
                if row := _row(tables[0], tables[1], method, measure):
                    rows.append({**head, **row, "same": not changed, "changed": ", ".join(changed)})
    columns = [
        "benchmark", "method", "task", "metric", "n", "before", "after", "improvement", "low", "high", "same",
        "changed",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def with_change(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return runs.csv and the Delta_m of multi_task.csv as one table of measures."""
    return pd.concat([tables["runs"], tables["multi_task"].assign(task=MULTI_TASK)])


def _row(before: pd.DataFrame, after: pd.DataFrame, method: str, measure: Measure) -> dict[str, object]:
    both = by_seed(before, method, measure).merge(
        by_seed(after, method, measure), left_index=True, right_index=True, suffixes=("_before", "_after")
    )
    both = both.dropna(subset=["value_before", "value_after"])
    if both.empty:
        return {}
    old, new = both.value_before.to_numpy(float), both.value_after.to_numpy(float)
    improvements = (new - old) * (1 if measure.higher_is_better else -1)
    if measure.relative:
        improvements = np.where(new == old, 0, relative_change(new, old, measure.higher_is_better))
    low, high = t_interval(improvements)
    return {
        "task": measure.task, "metric": measure.metric, "n": len(both), "before": old.mean(), "after": new.mean(),
        "improvement": improvements.mean(), "low": low, "high": high,
    }  # fmt: skip


def _changes(before: dict[str, pd.DataFrame], after: dict[str, pd.DataFrame], method: str) -> list[str]:
    """What differs between the runs of both states on their common seeds, in words."""
    sides = [each["provenance"][each["provenance"].method == method].set_index("seed") for each in (before, after)]
    seeds = sides[0].index.intersection(sides[1].index)
    keys = [column for column in ("train_key", "eval_key") if _differ(sides, seeds, column)]
    return [word for column, word in _CAUSES.items() if keys and _differ(sides, seeds, column)]


def _differ(sides: list[pd.DataFrame], seeds: pd.Index, column: str) -> bool:
    own, other = (side.loc[seeds, column].astype(object).fillna("").astype(str) for side in sides)
    return bool((own != other).any())
