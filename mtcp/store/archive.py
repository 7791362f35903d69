"""The archive of a finished benchmark, for others to check: configuration, plug-ins, records, tables and report.

It has no weights, images or statistics per image. Its folder in `results/reference/` is laid out as a project, so that
the code that reads a project also reads an archive. `archive.json` lists every file with its SHA-256. The report is
stored inside because DVC refuses an output, such as `reports/`, that contains a file tracked by git.
"""

import shutil
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import yaml

from mtcp.core.code_digest import code_closure
from mtcp.core.errors import UserError
from mtcp.core.files import read_record, visible, writable, write_record, write_text
from mtcp.core.names import require_name
from mtcp.core.plugins import USER_FOLDER, path_of
from mtcp.core.project import Project
from mtcp.core.project_files import (
    CLAIMS,
    HISTORY,
    LEDGER,
    PUBLISHED,
    RECORD,
    REFERENCE,
    REPORTS,
    RUNS,
    TABLES,
    lock_file,
    metrics_file,
    speed_file,
)
from mtcp.data.preparation.installing import exchange
from mtcp.store.integrity import changed, digests, stamped_problems
from mtcp.store.plan import Plan, Run
from mtcp.store.records import RunRecord

SEAL: Final = "archive.json"
_CONFIGURATION: Final = ("config/methods.yaml", CLAIMS, LEDGER, PUBLISHED)


def archive(plan: Plan, benchmark: str, name: str | None = None) -> Path:
    """Write the archive of `benchmark`, replacing an older one; return its folder: that of `name`, or the benchmark's.

    Raises `UserError` where `name` cannot be a name or is the archive of another benchmark, where the benchmark's
    tables or report do not belong to the present grid, where its methods were tuned under a budget (an archive keeps
    no trials), or where the folder cannot be written.
    """
    require_name(name or benchmark)
    folder = plan.root / REFERENCE / (name or benchmark)
    require_archive_of(benchmark, folder)
    stamps = plan.stamps(benchmark)
    for stamp, what in ((stamps.tables, "tables of {} do"), (stamps.report, "report of {} does")):
        if not stamp.exists() or stamped_problems(stamp):
            raise UserError(
                f"the {what.format(benchmark)} not match the current grid: run `snakemake --cores all` first"
            )
    if any(choice.benchmark == benchmark for choice in plan.choices):
        raise UserError(f"{benchmark} has a budget, and an archive keeps no trials: archive a benchmark without one")
    params = plan.project.params.model_copy(update={"benchmarks": [benchmark]}).model_dump(exclude_none=True)
    with written_anew(folder) as written:
        for path in _sources(plan, benchmark):
            target = written / path.relative_to(plan.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        write_text(written / "params.yaml", yaml.safe_dump(params, sort_keys=False))
    return folder


@contextmanager
def renewing(folder: Path) -> Iterator[Path]:
    """Yield a copy of the archive in `folder` to be changed; if the block succeeds, it is sealed and replaces it."""
    with written_anew(folder) as written:
        shutil.copytree(folder, written, dirs_exist_ok=True)
        yield written


@contextmanager
def written_anew(folder: Path) -> Iterator[Path]:
    """Yield an empty folder of the same name; if the block succeeds, it is sealed and replaces `folder` as a whole.

    Raises `UserError` where `folder` holds files that its seal does not list: they would be lost.
    """
    with writable(folder.parent):
        _require_replaceable(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".") as scratch:
            written = Path(scratch) / folder.name
            written.mkdir()
            yield written
            write_record(written / SEAL, {"files": digests(written, _kept(written))})
            # In one step: an interrupted command leaves the older archive or the new one, never none.
            if folder.exists():
                exchange(written, folder)
            else:
                written.rename(folder)


def _require_replaceable(folder: Path) -> None:
    """Raise `UserError` for files in place of the archive or inside it that its seal does not list."""
    try:
        foreign = _foreign(folder, read_record(folder / SEAL)["files"])
    except (UserError, NotADirectoryError):  # no archive: every file is somebody's
        foreign = _foreign(folder, {}) or [path for path in (folder, folder / SEAL) if path.is_file()]
    if foreign:
        raise UserError(
            f"{', '.join(map(str, foreign[:3]))}{' and others' if foreign[3:] else ''}: no archive lists this, and the "
            "new one would delete it; move it away, or choose another --as"
        )


def archives(root: Path) -> list[Path]:
    """Return the folders of the archives of the project at `root`."""
    return sorted(path for path in (root / REFERENCE).glob("[!.]*") if path.is_dir())


def seal_problems(folder: Path) -> Iterator[str]:
    """Yield a message for every file of the archive that is missing, was changed, or does not belong to it."""
    try:
        written = read_record(folder / SEAL)["files"]
    except UserError as error:
        yield str(error)
        return
    yield from changed(folder, written)
    for path in _foreign(folder, written):
        yield f"{path} is no part of the archive: remove it"


def archived_benchmark(folder: Path) -> str:
    """Return the name of the benchmark that an archive holds."""
    return Project(folder).params.benchmarks[0]


def require_archive_of(benchmark: str, folder: Path) -> None:
    """Raise `UserError` where `folder` is the archive of another benchmark."""
    try:
        held = archived_benchmark(folder)
    except UserError:  # absent or damaged: to be written anew
        return
    if held != benchmark:
        raise UserError(f"{REFERENCE}/{folder.name} is an archive of {held}, not of {benchmark}: choose another --as")


def archived_plan(folder: Path) -> Plan:
    """Return the plan of an archive: its grid, each run with its original keys.

    Raises `UserError` where a run of the grid is missing or present more than once.
    """
    project = Project(folder)
    params = project.params
    return Plan(
        project,
        tuple(
            _archived_run(folder, benchmark, method, seed)
            for benchmark in params.benchmarks
            for method in params.methods
            for seed in params.seeds
        ),
    )


def _archived_run(root: Path, benchmark: str, method: str, seed: int) -> Run:
    place = root / RUNS / benchmark / method
    records, metrics = (sorted(place.glob(f"seed{seed}-*/{name}")) for name in (RECORD, metrics_file("*")))
    if len(records) != 1 or len(metrics) != 1:
        raise UserError(
            f"{place} has {len(records)} records and {len(metrics)} metrics of seed {seed}, not one of each"
        )
    record = RunRecord.read(records[0])
    train_key, eval_key = (path.stem.rpartition("-")[2] for path in (records[0].parent, metrics[0]))
    return Run(record.run_config(), record.key_parts, train_key, eval_key, root, archived=True)


def _sources(plan: Plan, benchmark: str) -> Iterator[Path]:
    """Every file of the project that is copied into an archive."""
    project, root = plan.project, plan.root
    optional = [*(root / name for name in _CONFIGURATION), lock_file(root, project.data_name(benchmark))]
    optional += [speed_file(root, benchmark, method) for method in project.params.methods]
    optional.append(root / f"data/{project.benchmark(benchmark).layout}.yaml")  # a description of the user's own
    yield from (path for path in optional if path.exists())
    yield from (project.benchmark_path(name) for name in (benchmark, *project.benchmark_entry(benchmark).bases))
    yield from visible(root / TABLES / benchmark, "*.csv")
    yield from (root / REPORTS / f"{benchmark}{ending}" for ending in (".html", ".tex", "-tables.tex"))
    yield from _own_plugins(plan, benchmark)
    for run in plan.of(benchmark):
        yield from (run.run_path, run.metrics_path, run.directory / HISTORY)


def _own_plugins(plan: Plan, benchmark: str) -> Iterator[Path]:
    """The files of `plugins/` that define schemes or architectures of the methods, and those that these import."""
    root, configs = plan.root, [run.config for run in plan.of(benchmark)]
    named = {(kind, getattr(config, kind).name) for config in configs for kind in ("architecture", "scheme")}
    folder = root / USER_FOLDER
    own = [path for path in (path_of(kind, name, root) for kind, name in named) if path.is_relative_to(folder)]
    yield from (path for path in code_closure(own).values() if path.is_relative_to(folder))


def _foreign(folder: Path, listed: Container[str]) -> list[Path]:
    """The files of an archive that its seal does not list."""
    return [path for path in _kept(folder) if path.relative_to(folder).as_posix() not in listed]


def _kept(folder: Path) -> list[Path]:
    """Every file and link of an archive except its seal."""
    return [
        path for path in sorted(folder.rglob("*")) if (path.is_file() or path.is_symlink()) and path != folder / SEAL
    ]
