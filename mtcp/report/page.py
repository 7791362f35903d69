"""The common input of all sections of a page."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from mtcp.analysis.rows import rows_of
from mtcp.analysis.tables import read_table
from mtcp.core.config import Benchmark
from mtcp.core.project import Project
from mtcp.core.project_files import TABLE_NAMES, TABLES
from mtcp.core.roles import with_roles
from mtcp.core.tasks import Task
from mtcp.report.marks import mark
from mtcp.report.subject import about_paper


@dataclass(frozen=True)
class Page:
    """One benchmark with its tables, by name; `labels` and `marks` of methods."""

    project: Project
    name: str
    benchmark: Benchmark
    tables: dict[str, pd.DataFrame]

    @classmethod
    def read(cls, project: Project, name: str) -> "Page":
        """Read the tables of benchmark `name`; raises `UserError` where one is missing."""
        folder = project.root / TABLES / name
        tables = {table: read_table(folder / f"{table}.csv") for table in TABLE_NAMES if table != "history"}
        return cls(project, name, with_roles(project, name), tables)

    @property
    def methods(self) -> pd.DataFrame:
        return self.tables["methods"]

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        return self.benchmark.task_list

    @cached_property
    def labels(self) -> dict[Any, str]:
        return dict(zip(self.methods.method, self.methods.label, strict=True))

    @cached_property
    def finished(self) -> dict[Any, int]:
        """The number of seeds of each method that have results."""
        return dict(zip(self.methods.method, self.methods.finished, strict=True))

    @cached_property
    def marks(self) -> dict[Any, str]:
        return {row.method: mark(row) for row in rows_of(self.methods)}

    @cached_property
    def about_paper(self) -> bool:
        return about_paper(self.methods, self.tables["claims"])

    @property
    def baseline_label(self) -> str:
        return self.labels.get(self.benchmark.baseline, self.benchmark.baseline)
