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
from mtcp.analysis.tables import parse_table, read_table
from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.project_files import TABLES
from mtcp.core.roles import with_roles
from mtcp.metrics.multi_task import relative_change
from mtcp.store.archive import SEAL, seal_problems
from mtcp.store.integrity import require_stamped

#: What may explain a difference, from provenance.csv.
_CAUSES: Final = {
    "train_key": "training key", "eval_key": "evaluation key", "commit": "commit", "data_digest": "data",
    "weights_sha256": "weights", "environment": "environment",
}  # fmt: skip
_VALUES: Final = ("method", "seed", "selection", "output", "metric", "value", "environment")
#: The tables that are read, with the columns that are used.
_NEEDED: Final = {"runs": ("task", *_VALUES), "multi_task": _VALUES, "provenance": ("method", "seed", *_CAUSES)}


@dataclass(frozen=True)
class State:
    """The tables of one state of the results: {benchmark: {table: its rows}}."""

    name: str
    benchmarks: dict[str, dict[str, pd.DataFrame]]


def read_state(root: Path, name: str) -> State:
    """Read the tables of a folder (a project, or a folder of tables) or of a commit of the repository at `root`.

    Raises `UserError` where there are none, or where they are not those that were written; a commit has tables only if
    they were committed.
    """
    folder = Path(name)
    if folder.is_dir():
        _require_whole(folder)
        place = folder / TABLES if (folder / TABLES).is_dir() else folder
        found = {
            each.parent.name: {table: _checked(read_table(path), path) for table, path in _paths(each.parent)}
            for each in sorted(place.glob("*/runs.csv"))
        }
    else:
        files = _git(root, name, "ls-tree", "-r", "--name-only", name, TABLES).splitlines()
        found = {
            path.split("/")[-2]: {table: _committed(root, name, each) for table, each in _paths(Path(path).parent)}
            for path in files
            if path.endswith("/runs.csv")
        }
    if not found:
        raise UserError(
            f"{name} holds no tables ({TABLES}/BENCHMARK/runs.csv): run `mtcp tables` there, or commit them"
        )
    return State(name, found)


def _paths(folder: Path) -> list[tuple[str, Path]]:
    return [(table, folder / f"{table}.csv") for table in _NEEDED]


def _require_whole(folder: Path) -> None:
    """Raise `UserError` where a table in `folder` is not the one that was written there, as stamps and seals tell."""
    if (folder / SEAL).exists():
        for problem in seal_problems(folder):
            raise UserError(f"{folder} is not the archive that was written: {problem}")
    for place in (folder / TABLES, folder):
        for stamp in sorted(place.glob("*/grid-*.stamp")):
            require_stamped(stamp)


def _committed(root: Path, commit: str, path: Path) -> pd.DataFrame:
    where = f"{commit}:{path.as_posix()}"
    # From `root`, which may lie below the repository's top.
    content = _git(root, commit, "show", f"{commit}:./{path.as_posix()}")
    try:
        table = parse_table(StringIO(content))
    except ValueError as error:
        raise UserError(f"{where} is damaged ({error}): choose a commit with whole tables") from error
    return _checked(table, where)


def _checked(table: pd.DataFrame, where: str | Path) -> pd.DataFrame:
    """Return a table with numbers as values; raises `UserError` where it has none, or lacks columns that are used."""
    lacking = [column for column in _NEEDED[Path(where).stem] if column not in table]
    if lacking:
        raise UserError(f"{where} lacks the columns {', '.join(lacking)}: it is no table of this version of mtcp")
    try:
        return table.astype({"value": float}) if "value" in table else table  # of no rows, pandas knows no type
    except ValueError as error:
        raise UserError(
            f"{where} has values that are not numbers ({error}): it is damaged, make the tables again"
        ) from error


def _git(root: Path, name: str, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"'{name}' is neither a folder nor a commit of {root} with tables: {done.stderr.strip()}")
    return done.stdout


def compare_states(before: State, after: State, project: Project) -> pd.DataFrame:
    """Return a row per benchmark x method x measure in both: means, paired difference with its 95 % t interval.

    `improvement` is after minus before, paired by seed, with the sign such that positive is better. `same`: every pair
    has equal keys, so a difference would be an error; otherwise `changed` lists what differs, for multi-task measures
    also in the baseline's runs. Methods in only one state get a row without numbers, and so do those of benchmarks that
    `project` does not define.
    """
    rows, defined = [], project.benchmark_names()
    for benchmark in sorted({*before.benchmarks, *after.benchmarks}):
        old, new = (state.benchmarks.get(benchmark) for state in (before, after))
        tables = [with_change(side) for side in (old, new) if side is not None]
        methods = dict.fromkeys(name for table in tables for name in table.method)
        known = measures(project.benchmark(benchmark)) if benchmark in defined else {}
        baseline = with_roles(project, benchmark).baseline if benchmark in defined else ""
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
            if benchmark not in defined:
                rows.append({**head, "changed": f"not compared: no config/benchmarks/{benchmark}.yaml here"})
                continue
            own = _changes(old, new, method)
            against = [] if method == baseline else [f"baseline: {word}" for word in _changes(old, new, baseline)]
            for measure in known.values():
                changed = own + against if measure.task == MULTI_TASK else own
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
