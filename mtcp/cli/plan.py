"""`mtcp plan` and `check`: the grid's runs and their states, and a rehearsal of every method."""

import re
import sys
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from mtcp.cli.options import AsJson, BenchmarkName, Key, print_table, progress, require_key
from mtcp.core.errors import UserError
from mtcp.core.startup import uncollected
from mtcp.core.words import counted

if TYPE_CHECKING:
    from mtcp.core.project import Project


def register(app: typer.Typer) -> None:
    """Add this file's commands to `app`."""
    for command in (plan, check):
        app.command()(command)


def plan(
    state: Annotated[str | None, typer.Option(help="Show only runs in this state: done, trained, running, ...")] = None,
    as_json: AsJson = False,
) -> None:
    """List every run of the grid with its keys and its state; under a budget, after its trials.

    States: done, trained (not evaluated), running, failed (crashed), interrupted (resumes where it stopped), missing,
    waiting (for the choice of its configuration). `seconds` is the time of a finished training, `expected` the time
    that is left for training and evaluation, by the medians of the method's finished runs. Runs in the store that the
    grid does not name are superseded: `mtcp gc` lists them.
    """
    from mtcp.store.plan import Plan, State
    from mtcp.store.watching import look

    if state not in (None, *get_args(State)):
        raise UserError(f"--state {state}: expected one of {', '.join(get_args(State))}")
    planned = Plan.load()
    for note in planned.notes():
        typer.echo(f"note: {note}", err=True)
    progressed = list(zip((*planned.trials, *planned.runs), look(planned), strict=True))
    rows = [
        {
            "run": run.name,
            "train_key": None if run.waiting else run.train_key,
            "eval_key": None if run.waiting or run.trial is not None else run.eval_key,
            "state": row.state,
            "seconds": round(run.record().seconds, 1) if run.run_path.exists() else None,
            "expected": round(row.seconds_left, 1) if row.seconds_left else None,
        }
        for run, row in progressed
        if state in (None, row.state)
    ]
    print_table(["run", "train_key", "eval_key", "state", "seconds", "expected"], rows, as_json)
    if not as_json:
        superseded = sum(1 for _ in planned.superseded())
        done = sum(row.state == "done" for run, row in progressed if run.trial is None)
        trained = sum(trial.run_path.exists() for trial in planned.trials)
        trials = f"{counted(len(planned.trials), 'trial')}, {trained} trained; " if planned.trials else ""
        typer.echo(f"{trials}{counted(len(planned.runs), 'run')}, {done} done; {superseded} superseded in the store")


def check(benchmark: BenchmarkName, key: Key = None) -> None:
    """Check BENCHMARK before any training: images and targets can be read, every method trains and evaluates one step.

    The step runs on two small synthetic images on the CPU. Under a budget, the scheme of every trial trains one step.

    Example: mtcp check rooms
    """
    from mtcp.core.references import require_benchmark_parameters, require_method_parameters
    from mtcp.data.locks import require_one_batch
    from mtcp.data.preparation.sets import require_tasks
    from mtcp.store.plan import Plan, key_of

    with uncollected():
        from mtcp.data.loading.batches import SplitName, open_split, require_readable
        from mtcp.store.rehearsal import rehearse, require_searchable

    planned = Plan.load()
    first = {run.method: run for run in planned.of(benchmark)}
    if not first:
        planned.project.benchmark(benchmark)  # refused where there is none of that name
        raise UserError(f"params.yaml does not run benchmark '{benchmark}': add it to `benchmarks`")
    require_key(f"the check of {benchmark}", key, key_of(planned.stamps(benchmark).check))
    require_benchmark_parameters(planned.project, benchmark, {run.config.scheme.name for run in first.values()})
    for method, run in first.items():
        require_one_batch(planned.project, run.config)
        require_method_parameters(planned.project, method)
    if planned.manifest(benchmark).exists():
        require_tasks(planned.project, benchmark)
        some = next(iter(first.values())).config
        splits: tuple[SplitName, ...] = ("train", "validation", "test") if some.validation_share else ("train", "test")
        for split in splits:
            opened = open_split(some, planned.data_folder(benchmark), split)
            require_readable(opened)
            if split == "train":
                for run in first.values():  # counted anew: a set that only DVC tracks has no counts
                    require_one_batch(planned.project, run.config, len(opened))
    with progress(f"check {benchmark}") as on_method:
        for done, (method, run) in enumerate(first.items(), 1):
            tried = run.choice.trials if run.choice else (run,)
            try:
                require_searchable(planned.project.method(method))
                notes = rehearse(tried[0].config, [trial.config for trial in tried[1:]])
            except UserError as error:
                raise _located(error, planned.project, benchmark, method) from error
            for note in notes:
                print(f"mtcp: warning: method '{method}': {note}", file=sys.stderr)
            on_method(done, len(first))
    typer.echo(f"{benchmark}: {counted(len(first), 'method')} in order")


def _located(error: UserError, project: "Project", benchmark: str, method: str) -> UserError:
    """The error of a method's rehearsal with the file that has what is at fault: the encoder is the benchmark's."""
    found = re.match(r"encoder\.(\w+): ", str(error))
    if found is None:
        return UserError(f"config/methods.yaml, method '{method}': {error}")
    return project.benchmark_entry(benchmark).fault(("encoder", found[1]), str(error)[found.end() :])
