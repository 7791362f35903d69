"""Prediction sheets of the test images on which the reference gains most and least, by Delta_m of the single image."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from mtcp.analysis.rows import rows_of
from mtcp.analysis.tables import read_table
from mtcp.core.config import Benchmark
from mtcp.core.project import Project
from mtcp.core.project_files import EXTREMES, MODEL, RECORD, TABLES, run_folder, sheet_file
from mtcp.core.roles import with_roles
from mtcp.core.words import counted
from mtcp.data.locks import manifest_path
from mtcp.report.formats import display
from mtcp.store.integrity import require_unchanged
from mtcp.store.records import RunRecord

PLACES: Final = ("best", "median", "worst")


@dataclass(frozen=True)
class Extreme:
    """One image of one network: its `place` among the test images, a description, and the path of its sheet."""

    image: str
    place: str
    method: str
    words: str
    path: Path


def draw_extremes(root: Path, benchmark: str) -> None:
    """Draw the missing sheets of the reference and of the baseline, each at its first finished seed.

    Does nothing where a network or the data are missing, as in a clone that has only the tables. Raises `UserError`
    where the data changed since they were checked, or where another process uses the run.
    """
    folder, project = root / TABLES / benchmark, Project(root)
    images, provenance = (read_table(folder / f"{name}.csv") for name in ("images", "provenance"))
    wanted = list(extremes(root, benchmark, with_roles(project, benchmark), images, provenance))
    data = root / "data" / project.data_name(benchmark)
    if not data.exists() or not manifest_path(project, benchmark).exists():  # no data, or others that nobody checked
        return
    for method in dict.fromkeys(each.method for each in wanted):
        paths = [each.path for each in wanted if each.method == method]
        run = paths[0].parents[1]
        if all(path.exists() for path in paths) or not (run / MODEL).exists():
            continue
        from mtcp.data.preparation.sets import require_checked
        from mtcp.evaluation.chosen_sheets import write_chosen_sheets
        from mtcp.store.runs import locked

        require_checked(project, benchmark)
        record = RunRecord.read(run / RECORD)
        require_unchanged(run, {MODEL: record.files[MODEL]}, f"remove {run} and train the run again")
        ids = [each.image for each in wanted if each.method == method]
        with locked(run):
            write_chosen_sheets(paths[0].parent, record.run_config(), data, run / MODEL, ids, "cpu")


def extremes(
    root: Path, name: str, benchmark: Benchmark, images: pd.DataFrame, provenance: pd.DataFrame
) -> Iterator[Extreme]:
    """Yield the best, the median and the worst image, each for the reference and for the baseline."""
    placed = {row.place: row for row in rows_of(images.dropna(subset=["place"]))}
    for position, place in enumerate(PLACES):
        for method in (benchmark.reference, benchmark.baseline):
            run = first_finished(provenance, method)
            if run is None or place not in placed:
                continue
            row = placed[place]
            change = display("multi_task", "delta_m").number(row.delta_m, signed=True)
            folder = run_folder(root, name, method, run.seed, run.train_key) / EXTREMES
            yield Extreme(
                image=row.image,
                place=place,
                method=method,
                words=f"{place}: image {row.image}, Δm {change} % over {counted(row.n, 'seed')}",
                path=folder / sheet_file(position, row.image),
            )


def first_finished(provenance: pd.DataFrame, method: str) -> Any:
    """Return the row of the method's finished run with the smallest seed; None if there is none."""
    own = provenance[(provenance.method == method) & (provenance.status == "finished")]
    return next(rows_of(own.sort_values("seed", kind="stable")), None)
