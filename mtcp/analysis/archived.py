"""`mtcp verify --reference`: what is committed of finished benchmarks, checked against itself.

Records give keys and numbers, numbers give tables. What rests on statistics per image is not kept, so nothing can
re-derive it: the tables `images` and `classes`, and the intervals over test images in `comparisons`. Their bytes are
those that were sealed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mtcp.analysis.verification import Problem, cell_problems, key_problem
from mtcp.core.errors import UserError
from mtcp.core.project_files import HISTORY
from mtcp.store.archive import archived_plan, seal_problems
from mtcp.store.integrity import changed
from mtcp.store.plan import Run

#: What rests on statistics per image: whole tables, and columns of others.
_FROM_IMAGES: Final = ("images", "classes")
_INTERVALS: Final = ("image_low", "image_high")
#: Other machines add up in another order; nine digits are written.
_TOLERANCE: Final = 1e-6


def verify_archive(root: Path, folder: Path) -> tuple[list[Problem], int]:
    """Check one archive of the project at `root`; return its problems, each with its place, and its number of runs."""
    where = str(folder.relative_to(root))
    problems = [{"where": where, "problem": text} for text in seal_problems(folder)]
    try:
        plan = archived_plan(folder)
        problems += [
            {"where": f"{where}: {run.name}", "problem": text} for run in plan.runs for text in _run_problems(run)
        ]
        for problem in cell_problems(plan, folder.name, _FROM_IMAGES, _INTERVALS, _TOLERANCE):
            problems.append({**problem, "where": f"{where}/{problem['where']}"})
    except UserError as error:
        return [*problems, {"where": where, "problem": str(error)}], 0
    return problems, len(plan.runs)


def _run_problems(run: Run) -> Iterator[str]:
    record = run.record()
    yield from key_problem(record)
    yield from changed(run.directory, {HISTORY: record.files[HISTORY]})
