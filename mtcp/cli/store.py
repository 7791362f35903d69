"""`mtcp verify`, `archive`, `why`, `gc` and `doctor`: check and maintain the run store and the machine."""

import json
import shutil
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mtcp.cli.options import AsJson, BenchmarkName, MethodName, Seed, print_table
from mtcp.core.words import counted

_NO_COMMIT: Final = "no commit in the provenance"


def register(app: typer.Typer) -> None:
    """Add this file's commands to `app`."""
    for command in (verify, archive, why, gc, doctor):
        app.command()(command)


def verify(
    reference: Annotated[
        bool, typer.Option("--reference", help="Check what is committed in results/reference instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Re-derive every key, digest and table cell from the runs; report mismatches, with exit status 2."""
    problems, said = _reference_problems() if reference else _store_problems()
    if problems or as_json:
        print_table(["where", "problem"], problems, as_json)
    if problems:
        raise typer.Exit(2)
    if not as_json:
        typer.echo(said)


def _store_problems() -> tuple[list[dict[str, str]], str]:
    from mtcp.analysis.verification import verify_all
    from mtcp.store.plan import Plan

    planned = Plan.load()
    trials = f" and {counted(len(planned.trials), 'trial')}" if planned.trials else ""
    said = f"{counted(len(planned.runs), 'run')}{trials}: keys, digests, metrics and tables are in order"
    return verify_all(planned), said


def _reference_problems() -> tuple[list[dict[str, str]], str]:
    from mtcp.analysis.archived import verify_archive
    from mtcp.core.project import Project
    from mtcp.core.project_files import REFERENCE
    from mtcp.store.archive import archives

    folders = archives(Path.cwd())
    if not folders:
        _ = Project(Path.cwd()).params  # refused outside of a project, as `mtcp plan` is
    checked = [verify_archive(Path.cwd(), folder) for folder in folders]
    counts = {folder.name: count for folder, (_, count) in zip(folders, checked, strict=True)}
    runs = ", ".join(f"{counted(count, 'run')} of {name}" for name, count in counts.items())
    said = f"{runs}: keys, histories and tables are in order" if folders else f"nothing is archived in {REFERENCE}"
    return [problem for problems, _ in checked for problem in problems], said


def archive(
    benchmark: BenchmarkName,
    name: Annotated[
        str | None,
        typer.Option("--as", help="Name of the archive (default: the benchmark's), for a second grid of it."),
    ] = None,
    renew: Annotated[
        bool,
        typer.Option("--renew", help="Make tables and report of an existing archive again, with the present code."),
    ] = False,
) -> None:
    """Archive a finished benchmark for others to check: records, histories, tables and report, a few MB to commit.

    The archive is written to results/reference/NAME, with the configuration and the methods' own plug-ins, but without
    weights and images. `mtcp verify --reference` re-derives the tables from it. When the code that makes tables has
    changed, --renew writes them again; what depends on statistics per image, which are not archived, stays.

    Example: mtcp archive rooms
    """
    from mtcp.store.archive import archive as write_archive
    from mtcp.store.plan import Plan

    if renew:
        typer.echo(_renewed(benchmark, name or benchmark))
        return
    planned = Plan.load()
    typer.echo(write_archive(planned, benchmark, name).relative_to(planned.root))


def _renewed(benchmark: str, name: str) -> str:
    from mtcp.analysis.archived import renew_tables, verify_archive
    from mtcp.core.errors import UserError, alternatives
    from mtcp.core.project_files import REFERENCE
    from mtcp.report.render import write_report
    from mtcp.store.archive import archives, renewing, require_archive_of, seal_problems

    folder = Path.cwd() / REFERENCE / name
    known = [each.name for each in archives(Path.cwd())]
    if name not in known:
        raise UserError(f"{REFERENCE} has no archive '{name}' to renew{alternatives(name, known)}")
    require_archive_of(benchmark, folder)
    for problem in seal_problems(folder):
        raise UserError(f"{problem}: restore the archive before it is renewed")
    with renewing(folder) as written:
        renew_tables(written)
        write_report(written, benchmark)
    for problem in verify_archive(Path.cwd(), folder)[0]:
        raise UserError(f"{problem['where']}: {problem['problem']}")
    return f"{REFERENCE}/{name}"


def why(benchmark: BenchmarkName, method: MethodName, seed: Seed, as_json: AsJson = False) -> None:
    """Explain why a run has to be done: how its key differs from that of the nearest run in the store.

    Example: mtcp why rooms mtcp --seed 20
    """
    from mtcp.analysis.verification import explain, nearest
    from mtcp.store.plan import Plan

    planned = Plan.load()
    run = planned.run(benchmark, method, seed)
    if as_json:
        near, changes = nearest(planned, run) or (None, [])
        keys = {"run": run.name, "train_key": run.train_key, "eval_key": run.eval_key, "state": run.state()}
        typer.echo(json.dumps({**keys, "nearest": near and near.name, "changes": changes}, indent=1))
        return
    for sentence in explain(planned, run):
        typer.echo(sentence)


def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Remove them; without it they are only listed.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the superseded runs and choices: those in the store that the grid of params.yaml does not name.

    With them, changing a value back costs nothing, so remove them only when space is short.
    """
    from mtcp.core.errors import UserError
    from mtcp.store.plan import Plan

    planned = Plan.load()
    rows, refused = [], []
    for found in planned.superseded():
        row: dict[str, Any] = {"run": str(found.relative_to(planned.root)), "mb": _megabytes(found)}
        if found.is_symlink():
            row["note"] = "a link: what it leads to stays"
        try:
            if delete:
                _remove(found)
            rows.append(row)
        except UserError as error:
            refused.append(str(error))
    print_table(["run", "mb", *(["note"] if any("note" in row for row in rows) else [])], rows, as_json)
    if not as_json:
        total = sum(row["mb"] for row in rows)
        done = "removed" if delete else "(--delete removes them)"
        typer.echo(f"{counted(len(rows), 'superseded run')}, {total:.1f} MB {done}")
    if refused:
        raise UserError(f"not removed: {'; '.join(refused)}")


def _megabytes(found: Path) -> float:
    """The size of a run's folder or of a choice; nothing for a link."""
    files = [] if found.is_symlink() else [path for path in (found, *found.rglob("*")) if path.is_file()]
    return round(sum(path.stat().st_size for path in files) / 2**20, 1)


def _remove(found: Path) -> None:
    """Remove a run's folder that no process uses, a choice, or a link alone; raises `UserError` where it cannot."""
    from mtcp.core.files import writable
    from mtcp.store.runs import locked

    with writable(found):
        if found.is_symlink() or found.is_file():
            found.unlink()
            return
        with locked(found):
            shutil.rmtree(found)


def doctor(as_json: AsJson = False) -> None:
    """Check the machine, and show what each missing part prevents."""
    rows = [*_packages(), _gpu(), *_tools(), *_data()]
    print_table(["part", "found", "without_it"], rows, as_json)


def _packages() -> list[dict[str, Any]]:
    import platform

    from mtcp.store.environment import installed_version

    costs = {
        "torch": "nothing trains",
        "snakemake": "no pipeline; single runs still train with `mtcp train`",
        "dvc": "no versioned data and no `dvc repro`; Snakemake still runs",
    }
    python = {"part": "python", "found": platform.python_version(), "without_it": None}
    found = {name: installed_version(name) for name in costs}
    return [python] + [
        {"part": name, "found": found[name] or "missing", "without_it": None if found[name] else cost}
        for name, cost in costs.items()
    ]


def _gpu() -> dict[str, Any]:
    import torch

    if torch.cuda.is_available():
        return {"part": "GPU", "found": torch.cuda.get_device_name(0), "without_it": None}
    return {
        "part": "GPU",
        "found": "none",
        "without_it": "rooms and people run on CPU; nyud and pascal would take months",
    }


def _tools() -> list[dict[str, Any]]:
    from mtcp.store.environment import git_refusal

    costs = {
        "git": ("git", _NO_COMMIT),
        "LaTeX": ("pdflatex", "no PDF; HTML and .tex are written all the same"),
        "SLURM": ("sbatch", "no cluster execution; this machine's cores and GPUs are used"),
    }
    rows = [
        {"part": part, "found": (where := shutil.which(tool)) or "missing", "without_it": None if where else cost}
        for part, (tool, cost) in costs.items()
    ]
    if refused := git_refusal(Path.cwd()):
        rows.append({"part": "repository", "found": f"not read by git: {refused}", "without_it": _NO_COMMIT})
    return rows


def _data() -> list[dict[str, Any]]:
    from mtcp.core.errors import UserError
    from mtcp.core.project import Project
    from mtcp.data.locks import data_digest

    project, rows = Project(Path.cwd()), []
    if not (project.root / "config/benchmarks").is_dir():
        return rows  # the machine alone, outside of a project
    for name in project.benchmark_names():
        try:
            digest = data_digest(project, name)
        except UserError as error:
            rows.append({"part": f"data: {name}", "found": "missing", "without_it": str(error)})
            continue
        folder = project.root / "data" / project.data_name(name)
        rows.append(
            {
                "part": f"data: {name}",
                "found": digest[:12],
                "without_it": None if folder.exists() else "made on the first run",
            }
        )
    return rows
