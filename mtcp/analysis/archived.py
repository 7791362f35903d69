"""`mtcp verify --reference`: consistency checks of committed archives of finished benchmarks.

Keys and metrics are derived again from the records, and tables from the metrics. Archives do not contain statistics per
image, so what depends on them cannot be derived again: the tables `images` and `classes`, and the intervals over test
images in `comparisons`. For these, only the sealed digests are checked.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mtcp.analysis.tables import build_tables, read_table, to_csv
from mtcp.analysis.verification import Problem, cell_problems, key_problem
from mtcp.core.errors import UserError
from mtcp.core.files import write_text
from mtcp.core.project_files import HISTORY, TABLES
from mtcp.store.archive import archived_benchmark, archived_plan, seal_problems
from mtcp.store.integrity import changed
from mtcp.store.plan import Run

#: What depends on statistics per image: whole tables, and columns of others.
_FROM_IMAGES: Final = ("images", "classes")
_INTERVALS: Final = ("image_low", "image_high")
#: Other machines may sum in another order; tables have nine digits.
_TOLERANCE: Final = 1e-6


def verify_archive(root: Path, folder: Path) -> tuple[list[Problem], int]:
    """Check one archive of the project at `root`; return its problems with their places, and its number of runs."""
    where = str(folder.relative_to(root))
    problems = [{"where": where, "problem": text} for text in seal_problems(folder)]
    try:
        plan = archived_plan(folder)
        problems += [
            {"where": f"{where}: {run.name}", "problem": text} for run in plan.runs for text in _run_problems(run)
        ]
        for problem in cell_problems(plan, archived_benchmark(folder), _FROM_IMAGES, _INTERVALS, _TOLERANCE):
            problems.append({**problem, "where": f"{where}/{problem['where']}"})
    except UserError as error:
        return [*problems, {"where": where, "problem": str(error)}], 0
    return problems, len(plan.runs)


def renew_tables(folder: Path) -> None:
    """Write the tables of the archive in `folder` again, with the present code, from the records.

    What depends on statistics per image stays as it was; a comparison that is new has no intervals over test images.
    Raises `UserError` where the archive is damaged.
    """
    benchmark, rows = archived_benchmark(folder), ["family", "method"]
    place = folder / TABLES / benchmark
    kept = read_table(place / "comparisons.csv")
    for name, table in build_tables(archived_plan(folder), benchmark).items():
        if name in _FROM_IMAGES:
            continue
        if name == "comparisons" and len(table):
            intervals = kept[[*rows, *_INTERVALS]]
            table = table.drop(columns=list(_INTERVALS)).merge(intervals, on=rows, how="left", validate="1:1")
        write_text(place / f"{name}.csv", to_csv(table))


def _run_problems(run: Run) -> Iterator[str]:
    record = run.record()
    yield from key_problem(record)
    yield from changed(run.directory, {HISTORY: record.files[HISTORY]})
