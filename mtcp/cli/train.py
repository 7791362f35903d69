"""`mtcp train` and `mtcp choose`: train one run, and choose among a method's trials."""

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from mtcp.cli.options import BenchmarkName, Device, Key, MethodName, Seed, Threads, held_device, progress, require_key
from mtcp.core.errors import UserError
from mtcp.core.startup import compute_with, uncollected
from mtcp.core.words import counted
from mtcp.store.signals import stop_on_signal
from mtcp.training.history import LOSS

if TYPE_CHECKING:
    from mtcp.core.config import ResourceConfig
    from mtcp.store.plan import Plan, Run


def register(app: typer.Typer) -> None:
    """Add this file's commands to `app`."""
    for command in (train, choose):
        app.command()(command)


def train(
    benchmark: BenchmarkName,
    method: MethodName,
    seed: Seed,
    device: Device = "auto",
    threads: Threads = 1,
    key: Key = None,
) -> None:
    """Train one run; resumes where an earlier call stopped, and does nothing if the run is already trained.

    With the key of one of the method's trials (`mtcp plan` lists them), train that trial. A benchmark with
    `resources: {gpu: 4}`, or `{processes: 2}` on a CPU, trains in that many processes, which share --threads.

    Example: mtcp train rooms mtcp --seed 20
    """
    from mtcp.store.plan import Plan

    planned = Plan.load(only=(benchmark, method))
    run = planned.run(benchmark, method, seed, key)
    run.require_chosen()
    require_key(run.name, key, run.train_key)
    prepare_data(planned, run)
    compute_with(threads)
    resources = planned.resources(benchmark)
    with held_device(device, resources, resources.together) as where, stop_on_signal() as stop:
        train_planned(planned, run, where, stop)


def prepare_data(planned: "Plan", run: "Run") -> None:
    """Make the data of a run that is to be trained ready, as the workflow does before it trains."""
    if run.run_path.exists() or planned.manifest(run.benchmark).exists():
        return
    from mtcp.data.preparation.sets import prepare

    name = planned.project.data_name(run.benchmark)
    with progress(f"preparing {name}") as bar:
        prepare(planned.project, name, bar)


def train_planned(planned: "Plan", run: "Run", device: str, stop: Callable[[], bool]) -> None:
    """Train `run` with a progress bar, and print how it ended.

    Where `stop` asks for it before the end, the state is saved and `typer.Exit` raised, with status 130.
    """
    with uncollected():
        from mtcp.store.runs import train_run
        from mtcp.training.loop import Interrupted

    already = run.run_path.exists()
    if not already:
        _say_device(run.name, device, planned.resources(run.benchmark))
    try:
        with progress(run.name) as on_step:
            record = train_run(planned, run, device, stop=stop, on_step=on_step, on_epoch=_print_epoch)
    except Interrupted:
        print(f"{run.name}: stopped, state saved; the same command goes on from there", file=sys.stderr)
        raise typer.Exit(130) from None
    reason = f" ({record.reason})" if record.reason else ""
    flags = f", flags: {', '.join(record.flags)}" if record.flags else ""
    epochs = counted(record.epochs, "epoch")
    before = "was trained already: " if already else ""
    typer.echo(f"{run.name}: {before}{record.status}{reason} after {epochs}, {record.seconds:.1f} s{flags}")


def _say_device(name: str, device: str, resources: "ResourceConfig") -> None:
    """Print the first line of a run's log: the device, and a note if the benchmark wants a GPU and it is a CPU."""
    where = "the CPU" if device == "cpu" else device
    number = f" in {resources.together} processes" if resources.together > 1 else ""
    wants = "a GPU" if resources.gpu == 1 else f"{resources.gpu} GPUs"
    missed = resources.gpu and device == "cpu"
    meant = f": the benchmark asks for {wants} (`resources.gpu: {resources.gpu}`)" if missed else ""
    if missed:
        import torch

        meant += "" if torch.cuda.is_available() else ", and none is available"
    print(f"{name}: training on {where}{number}{meant}", file=sys.stderr, flush=True)


def _print_epoch(row: dict[str, float]) -> None:
    losses = "  ".join(f"{key.removeprefix(LOSS)} {value:.4f}" for key, value in row.items() if key.startswith(LOSS))
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
