"""Consistency checks of the run store: records against their files, and tables against records."""

import math
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

from mtcp.core.errors import UserError
from mtcp.core.hashing import short_key
from mtcp.core.project_files import LOCK, RECORD, RUNS, SPEED, TABLES, run_folder
from mtcp.store.integrity import changed, stamped_problems
from mtcp.store.keys import differences
from mtcp.store.plan import Choice, Plan, Run
from mtcp.store.records import RunRecord, readable_records
from mtcp.store.speed import measured
from mtcp.store.tuning_choice import chosen_record, described

Problem = dict[str, str]
#: Files of a method that do not belong to a single run.
_BESIDE_RUNS = ("*/*/choice-*.json", f"*/*/{SPEED}")


def verify_all(plan: Plan) -> list[Problem]:
    """Re-derive keys, digests, metrics and tables of the grid; return every mismatch with its place."""
    problems: list[Problem] = []
    for run in (*plan.trials, *plan.runs):
        problems += [{"where": run.name, "problem": text} for text in _run_problems(run)]
    for choice in plan.choices:
        problems += [
            {"where": f"{choice.benchmark}/{choice.method}", "problem": text} for text in _choice_problems(choice)
        ]
    problems += [{"where": str(path.relative_to(plan.root)), "problem": text} for path, text in _foreign(plan)]
    for benchmark in plan.project.params.benchmarks:
        problems += [{"where": f"data of {benchmark}", "problem": text} for text in _data_problems(plan, benchmark)]
        problems += _table_problems(plan, benchmark)
        problems += _count_problems(plan, benchmark)
        problems += _stamp_problems(plan, plan.stamps(benchmark).report)
    return problems + _stamp_problems(plan, plan.metrics_stamp())


def _data_problems(plan: Plan, benchmark: str) -> Iterator[str]:
    """Compare the present data with those that were checked; a clone that has only results needs none."""
    from mtcp.data.preparation.sets import require_checked

    if plan.manifest(benchmark).exists():
        try:
            require_checked(plan.project, benchmark)
        except UserError as error:
            yield str(error)


def _stamp_problems(plan: Plan, stamp: Path) -> list[Problem]:
    where = str(stamp.parent.relative_to(plan.root))
    if not stamp.exists():
        text = (
            f"{stamp.name} is missing: the files there come from other runs or were never written; "
            "run `snakemake --cores all`"
        )
        return [{"where": where, "problem": text}]
    return [{"where": where, "problem": text} for text in stamped_problems(stamp)]


def _run_problems(run: Run) -> Iterator[str]:
    if not run.run_path.exists():
        yield f"is {run.state()}: run `snakemake --cores all`"
        return
    try:
        record = run.record()
    except UserError as error:
        yield str(error)
        return
    yield from key_problem(record)
    yield from changed(run.directory, record.files)
    if run.trial is not None:
        return
    if not run.metrics_path.exists():
        yield f"is not evaluated: {run.metrics_path.name} is missing"
        return
    yield from _metric_problems(run)


def key_problem(record: RunRecord) -> Iterator[str]:
    """Report a record whose `train_key` does not follow from its key parts."""
    if short_key(record.key_parts) != record.train_key:
        yield "the key that follows from its recorded parts is not its train_key"


def _choice_problems(choice: Choice) -> Iterator[str]:
    """Compare the recorded choice with the one derived from its present trials."""
    try:
        written = choice.record()
        if written is not None and written != (derived := chosen_record(choice)):
            yield (
                f"{choice.path.name} says {described(written)}; its trials, losses and costs as they are now give "
                f"{described(derived)}"
            )
    except UserError as error:
        yield str(error)


def _metric_problems(run: Run) -> Iterator[str]:
    """Compare the written metrics with those recomputed from the statistics per image."""
    from mtcp.metrics.coherence import COHERENCE, coherence_metrics
    from mtcp.metrics.recompute import metrics_from_statistics, read_statistics

    try:
        written = run.metrics().metrics.get("last", {})
        for output, tasks in written.items():
            judged = [task for task in run.config.task_list if task.name in tasks]
            _, statistics = read_statistics(run.images_path, output)
            recomputed = metrics_from_statistics(statistics, judged, run.config.evaluation)
            if COHERENCE in statistics:
                recomputed[COHERENCE] = coherence_metrics(statistics[COHERENCE])
            for task, metrics in tasks.items():
                for metric, value in metrics.items():
                    if not _same(value, recomputed[task][metric]):
                        yield (
                            f"{output} {task} {metric} is {value} in the record and {recomputed[task][metric]} "
                            f"from the statistics per image"
                        )
    except UserError as error:
        yield str(error)


def _same(written: float | None, recomputed: float) -> bool:
    """Whether both are equal up to rounding; None means NaN."""
    if written is None:
        return not math.isfinite(recomputed)
    return math.isclose(written, recomputed, rel_tol=1e-9, abs_tol=1e-12)


def _foreign(plan: Plan) -> Iterator[tuple[Path, str]]:
    """Report what no planned run could have written to the store, and directories that claim the same key."""
    seen: dict[tuple[str, str, str], Path] = {}
    places = [path for pattern in ("*", "*/*", "*/*/*") for path in (plan.root / RUNS).glob(pattern)]
    for directory in sorted(path for path in places if not any(map(path.match, _BESIDE_RUNS))):
        record_path = directory / RECORD
        if not record_path.exists():
            if directory.is_dir() and len(directory.relative_to(plan.root / RUNS).parts) < 3:
                continue
            if not (directory / LOCK).exists():
                yield directory, "is not a run: nothing of the pipeline's is in it; move it away"
            continue
        try:
            record = RunRecord.read(record_path)
        except UserError as error:
            yield directory, str(error)
            continue
        identity = (record.benchmark, record.method, record.train_key)
        place = run_folder(plan.root, record.benchmark, record.method, record.seed, record.train_key)
        if directory != place:
            name = place.relative_to(plan.root / RUNS).as_posix()
            yield directory, f"holds the run {name}: it was moved or copied; remove it"
        if identity in seen and seen[identity] != directory:
            yield directory, f"claims the key of {seen[identity].name}"
        seen.setdefault(identity, directory)


def _table_problems(plan: Plan, benchmark: str) -> Iterator[Problem]:
    """Compare the written tables with those derived from the runs."""
    stamp = plan.stamps(benchmark).tables
    yield from _stamp_problems(plan, stamp)
    if not stamp.exists():
        return
    try:
        yield from cell_problems(plan, benchmark)
    except UserError as error:
        yield {"where": f"tables of {benchmark}", "problem": str(error)}


def _count_problems(plan: Plan, benchmark: str) -> Iterator[Problem]:
    """Count the runs behind every `n` of the written tables."""
    from mtcp.analysis.recount import COUNTED, recount
    from mtcp.analysis.tables import read_table

    folder = plan.root / TABLES / benchmark
    if not all((folder / f"{name}.csv").exists() for name in COUNTED):
        return
    finished = {
        method: frozenset(run.seed for run in plan.of(benchmark) if run.method == method and run.metrics_path.exists())
        for method in plan.project.params.methods
    }
    try:
        rounds = {each.method: frozenset(range(len(each.rounds))) for each in measured(plan, benchmark)}
    except UserError as error:
        yield {"where": f"measurements of {benchmark}", "problem": str(error)}
        return
    try:
        tables = {name: read_table(folder / f"{name}.csv") for name in COUNTED}
        for where, problem in recount(tables, finished, rounds):
            yield {"where": str((folder / where).relative_to(plan.root)), "problem": problem}
    except (UserError, KeyError, TypeError):
        return  # damaged tables are reported cell by cell


def cell_problems(
    plan: Plan,
    benchmark: str,
    tables_left_out: Sequence[str] = (),
    columns_left_out: Sequence[str] = (),
    tolerance: float = 0.0,
) -> Iterator[Problem]:
    """Derive the tables again and compare them with the written ones cell by cell, except for those left out.

    Numbers may differ by the relative `tolerance`. Raises `UserError` where no tables can be derived.
    """
    from mtcp.analysis.tables import build_tables, to_csv

    for name, table in build_tables(plan, benchmark).items():
        if name not in tables_left_out:
            path = plan.root / TABLES / benchmark / f"{name}.csv"
            where = str(path.relative_to(plan.root))
            yield from _different_cells(path, to_csv(table), where, columns_left_out, tolerance)


def _different_cells(
    path: Path, derived_text: str, where: str, columns_left_out: Sequence[str], tolerance: float
) -> Iterator[Problem]:
    import pandas as pd

    if not path.exists():
        yield {"where": where, "problem": "is missing"}
        return
    if path.read_bytes() == derived_text.encode():
        return
    try:
        written, derived = (
            pd.read_csv(source, dtype=str, keep_default_na=False).drop(columns=[*columns_left_out], errors="ignore")
            for source in (path, StringIO(derived_text))
        )
    except ValueError as error:
        yield {"where": where, "problem": f"cannot be read as a table: {error}"}
        return
    if list(written.columns) != list(derived.columns) or len(written) != len(derived):
        yield {"where": where, "problem": f"has shape {written.shape}, the runs give {derived.shape}"}
        return
    unequal = written.ne(derived)
    for row, column in zip(*unequal.to_numpy().nonzero(), strict=True):
        before, now = str(written.iat[row, column]), str(derived.iat[row, column])
        if not (tolerance and _close(before, now, tolerance)):
            yield {
                "where": f"{where} row {row + 2}, {written.columns[column]}",
                "problem": f"shows {before}, the runs give {now}",
            }


def _close(before: str, now: str, tolerance: float) -> bool:
    try:
        return math.isclose(float(before), float(now), rel_tol=tolerance, abs_tol=1e-12)
    except ValueError:
        return False


def explain(plan: Plan, run: Run) -> Iterator[str]:
    """Yield why `run` has to be done: how its key differs from that of the nearest run in the store.

    Raises `UserError` where the records of a run that is done are damaged.
    """
    state = run.state()
    choice = run.choice
    if choice is not None and (chosen := choice.record()) is not None:
        yield f"{run.name} runs with {described(chosen)} ({choice.path.name})"
    if state == "done":
        run.record()  # a damaged file is the reason to be told
        run.metrics()
        yield f"{run.name} is done: nothing has to run (train_key {run.train_key}, eval_key {run.eval_key})"
        return
    if state == "waiting" and choice is not None:
        missing = [trial for trial in choice.trials if not trial.run_path.exists()]
        total = len(choice.trials)
        yield f"{run.name} waits for its configuration: {total - len(missing)} of {total} trials are trained"
        for trial in missing:
            yield from explain(plan, trial)
        return
    if state == "trained":
        yield f"{run.name} is trained, not evaluated under eval_key {run.eval_key}: the evaluation is new"
        return
    if state == "running":
        yield f"{run.name} is running: another process trains or evaluates it at this moment"
        return
    if state == "failed":
        reason = next(iter(run.failure_path.read_text(errors="replace").splitlines()), "")
        yield f"{run.name} failed, and `snakemake --cores all` tries it again: {reason or 'no reason was written'}"
        return
    if state == "interrupted":
        yield f"{run.name} was interrupted and resumes from its saved state"
        return
    if run.metrics_path.exists():
        yield f"{run.name} has metrics but no {run.run_path.name}, which was removed: it is trained again"
        return
    near = nearest(plan, run)
    if near is None:
        yield f"{run.name} has never been trained here"
        return
    yield f"{run.name} differs from the nearest run, {near[0].name}, in:"
    yield from (f"  {change}" for change in near[1])


def nearest(plan: Plan, run: Run) -> tuple[Path, list[str]] | None:
    """Return the directory of the trained run whose key parts differ least from `run`'s, and the differences.

    Runs of the same benchmark, method and seed are compared; None if none was ever trained here.
    """
    candidates = [
        (folder, differences(record.key_parts, run.parts))
        for folder, record in readable_records(plan.root / RUNS / run.benchmark / run.method)
        if record.seed == run.seed
    ]
    return min(candidates, key=lambda pair: (len(pair[1]), pair[0].name), default=None)
