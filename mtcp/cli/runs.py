"""`mtcp plan`, `check`, `train`, `choose` and `evaluate`: the grid and the work of one run."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtcp.cli.options import (
    AsJson,
    BenchmarkName,
    Device,
    Key,
    MethodName,
    Seed,
    Threads,
    held_device,
    print_table,
    progress,
    require_key,
)
from mtcp.core.errors import UserError
from mtcp.core.startup import uncollected

if TYPE_CHECKING:
    from mtcp.core.config import ResourceConfig
    from mtcp.store.plan import Plan, Run
    from mtcp.store.records import RunRecord


def register(app: typer.Typer) -> None:
    """Add this file's commands to `app`."""
    for command in (plan, check, train, choose, evaluate):
        app.command()(command)


def plan(
    state: Annotated[str | None, typer.Option(help="Show only runs in this state: done, trained, running, ...")] = None,
    as_json: AsJson = False,
) -> None:
    """List every run of the grid with its keys and its state; under a budget the trials before it.

    States: done, trained (not evaluated), running, failed (crashed), interrupted (resumes where it stopped), missing,
    waiting (for the choice of its configuration). `seconds` is what a training took; `expected`, what it will take by
    the median epoch of the method's finished runs. Runs in the store that the grid does not name are superseded:
    `mtcp gc` lists them.
    """
    from mtcp.store.plan import Plan
    from mtcp.store.watching import seconds_per_epoch

    planned = Plan.load()
    for note in planned.notes():
        typer.echo(f"note: {note}", err=True)
    costs = seconds_per_epoch(planned.root, {(run.benchmark, run.method) for run in planned.runs})
    states = {run.name: run.state() for run in (*planned.trials, *planned.runs)}
    rows = [
        {
            "run": run.name,
            "train_key": None if run.waiting else run.train_key,
            "eval_key": None if run.waiting or run.trial is not None else run.eval_key,
            "state": states[run.name],
            "seconds": round(run.record().seconds, 1) if run.run_path.exists() else None,
            "expected": None if run.run_path.exists() else _expected(run, costs),
        }
        for run in (*planned.trials, *planned.runs)
        if state in (None, states[run.name])
    ]
    print_table(["run", "train_key", "eval_key", "state", "seconds", "expected"], rows, as_json)
    if not as_json:
        superseded = sum(1 for _ in planned.superseded())
        done = sum(states[run.name] == "done" for run in planned.runs)
        trained = sum(trial.run_path.exists() for trial in planned.trials)
        trials = f"{len(planned.trials)} trials, {trained} trained; " if planned.trials else ""
        typer.echo(f"{trials}{len(planned.runs)} runs, {done} done; {superseded} superseded in the store")


def _expected(run: "Run", costs: dict[tuple[str, str], float]) -> float | None:
    cost = costs.get((run.benchmark, run.method))
    return None if cost is None else round(cost * run.config.training.epochs, 1)


def check(benchmark: BenchmarkName, key: Key = None) -> None:
    """Check BENCHMARK before any training: its data have its tasks, and every method trains and evaluates one step.

    The step is made on two small made-up images, on the CPU. Under a budget the scheme of every trial makes one.

    Example: mtcp check rooms
    """
    from mtcp.data.preparation.sets import require_tasks
    from mtcp.store.plan import Plan, key_of

    with uncollected():
        from mtcp.store.rehearsal import rehearse

    planned = Plan.load()
    first = {run.method: run for run in planned.of(benchmark)}
    if not first:
        raise UserError(f"params.yaml does not run benchmark '{benchmark}': add it to `benchmarks`")
    require_key(f"the check of {benchmark}", key, key_of(planned.stamps(benchmark).check))
    if planned.manifest(benchmark).exists():
        require_tasks(planned.project, benchmark)
    with progress(f"check {benchmark}") as on_method:
        for done, (method, run) in enumerate(first.items(), 1):
            tried = run.choice.trials if run.choice else (run,)
            try:
                notes = rehearse(tried[0].config, [trial.config for trial in tried[1:]])
            except UserError as error:
                raise UserError(f"config/methods.yaml, method '{method}': {error}") from error
            for note in notes:
                print(f"mtcp: warning: method '{method}': {note}", file=sys.stderr)
            on_method(done, len(first))
    typer.echo(f"{benchmark}: {len(first)} methods are in order")


def train(
    benchmark: BenchmarkName,
    method: MethodName,
    seed: Seed,
    device: Device = "auto",
    threads: Threads = 1,
    key: Key = None,
) -> None:
    """Train one run; resumes where an earlier call stopped, and does nothing where it is done.

    With the key of one of the method's trials (`mtcp plan` lists them) it trains that trial.

    Example: mtcp train rooms mtcp --seed 0
    """
    from mtcp.store.plan import Plan

    planned = Plan.load(only=(benchmark, method))
    run = planned.run(benchmark, method, seed, key)
    if run.waiting and run.choice is not None:
        raise UserError(
            f"{run.name} waits for the choice of its configuration among {len(run.choice.trials)} trials: "
            f"`snakemake --cores all` trains them; `mtcp plan` lists them"
        )
    require_key(run.name, key, run.train_key)
    if not planned.manifest(benchmark).exists():
        _prepare(planned, benchmark)
    with uncollected():
        import torch

        from mtcp.store.runs import train_run
        from mtcp.training.loop import Interrupted

    torch.set_num_threads(threads)
    try:
        with held_device(device, planned.resources(benchmark)) as where, progress(run.name) as on_step:
            _say_device(run.name, where, planned.resources(benchmark))
            record = train_run(planned, run, where, on_step=on_step, on_epoch=_print_epoch)
    except Interrupted:
        print(f"{run.name}: stopped, state saved; the same command goes on from there", file=sys.stderr)
        raise typer.Exit(130) from None
    reason = f" ({record.reason})" if record.reason else ""
    flags = f", flags: {', '.join(record.flags)}" if record.flags else ""
    typer.echo(f"{run.name}: {record.status}{reason} after {record.epochs} epochs, {record.seconds:.1f} s{flags}")


def _prepare(planned: "Plan", benchmark: str) -> None:
    """Make the benchmark's data ready, as the workflow does before it trains."""
    from mtcp.data.preparation.sets import prepare

    name = planned.project.data_name(benchmark)
    with progress(f"preparing {name}") as bar:
        prepare(planned.project, name, bar)


def _say_device(name: str, device: str, resources: "ResourceConfig") -> None:
    """The first line of a run's log: where it runs, and that a GPU was meant where it is a CPU."""
    meant = ", although the benchmark wants a GPU (`resources.gpu: 1`)" if resources.gpu and device == "cpu" else ""
    print(f"{name}: trains on {device}{meant}", file=sys.stderr, flush=True)


def _print_epoch(row: dict[str, float]) -> None:
    losses = "  ".join(
        f"{key.removeprefix('loss_')} {value:.4f}" for key, value in row.items() if key.startswith("loss_")
    )
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    print(f"{now}  epoch {row['epoch']:>3}  {losses}", file=sys.stderr, flush=True)


def choose(benchmark: BenchmarkName, method: MethodName, key: Key = None) -> None:
    """Choose METHOD's configuration among its trained trials by the loss on validation images.

    Example: mtcp choose rooms mtcp
    """
    from mtcp.store.plan import Plan
    from mtcp.store.tuning_choice import choose as choose_among
    from mtcp.store.tuning_choice import described

    planned = Plan.load(only=(benchmark, method))
    choice = planned.run(benchmark, method, planned.project.params.seeds[0]).choice
    if choice is None:
        raise UserError(
            f"{benchmark}/{method} has nothing to choose: config/benchmarks/{benchmark}.yaml has no `budget`, "
            f"or the method is a trivial baseline, which trains nothing"
        )
    require_key(f"the choice of {benchmark}/{method}", key, choice.key)
    record = choose_among(choice)
    typer.echo(f"{benchmark}/{method}: {described(record)}, {choice.path.relative_to(planned.root)}")


def evaluate(
    benchmark: BenchmarkName,
    method: Annotated[str | None, typer.Argument(help="A method of config/methods.yaml, such as mtcp.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The repetition.")] = 0,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="A saved network (.safetensors) in any run's folder: judged on BENCHMARK's test split, printed."
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = 1,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate one trained run on the test split: metrics, statistics per image, sample pictures.

    With --checkpoint, judge a saved network on the data of any benchmark with the same tasks, and print its metrics.

    Examples: mtcp evaluate rooms mtcp --seed 0; mtcp evaluate nyud_240 --checkpoint results/runs/.../model.safetensors
    """
    from mtcp.store.plan import Plan

    planned = Plan.load(only=(benchmark, method))
    if checkpoint is not None:
        _judge(planned, benchmark, checkpoint, device, threads, as_json)
        return
    if method is None:
        raise UserError("mtcp evaluate: name a METHOD of the grid, or a --checkpoint")
    run = planned.run(benchmark, method, seed)
    require_key(run.name, key, run.eval_key)
    with uncollected():
        import torch

        from mtcp.store.runs import evaluate_run

    torch.set_num_threads(threads)
    with held_device(device, planned.resources(benchmark)) as where, progress(f"evaluate {run.name}") as on_image:
        path = evaluate_run(planned, run, where, threads, on_image)
    typer.echo(f"{run.name}: {path.relative_to(planned.root)}")


def _record_of(checkpoint: Path) -> "RunRecord":
    """Return the record of the run that saved `checkpoint`: beside it, or above it where it is a snapshot."""
    from mtcp.core.project_files import RECORD
    from mtcp.store.records import RunRecord

    for folder in (checkpoint.parent, checkpoint.parent.parent):
        if (folder / RECORD).exists():
            return RunRecord.read(folder / RECORD)
    raise UserError(
        f"{checkpoint} lies in no run's folder: the {RECORD} beside it, which says how the network is built, is missing"
    )


def _judge(planned: "Plan", benchmark: str, checkpoint: Path, device: str, threads: int, as_json: bool) -> None:
    """Print the metrics of a saved network on the test split of `benchmark`."""
    import torch

    from mtcp.data.loading.batches import open_split
    from mtcp.evaluation.evaluate import evaluate_elsewhere

    torch.set_num_threads(threads)
    record = _record_of(checkpoint)
    trained = record.run_config()
    other = planned.project.resolve(benchmark, record.method, record.seed)
    data, seen = planned.data_folder(benchmark), 0
    total = len(open_split(other, data, "test"))
    with held_device(device, planned.resources(benchmark)) as where, progress(f"judging {checkpoint.name}") as bar:

        def advance(count: int) -> None:
            nonlocal seen
            seen += count
            bar(seen, total)

        _, metrics = evaluate_elsewhere(trained, checkpoint, other, data, where, threads=threads, on_images=advance)
    rows = [
        {"output": output, "task": task, "metric": metric, "value": value}
        for output, tasks in metrics.items()
        for task, values in tasks.items()
        for metric, value in values.items()
    ]
    print_table(["output", "task", "metric", "value"], rows, as_json, title=f"{checkpoint} on {benchmark}")
