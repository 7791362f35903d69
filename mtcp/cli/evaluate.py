"""`mtcp evaluate`: evaluate one network on a test split."""

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtcp.cli.options import (
    AsJson,
    BenchmarkName,
    Device,
    Key,
    MaybeSeed,
    Threads,
    held_device,
    print_table,
    progress,
    require_key,
)
from mtcp.cli.train import prepare_data, train_planned
from mtcp.core.errors import UserError
from mtcp.core.startup import compute_with
from mtcp.store.signals import stop_on_signal

if TYPE_CHECKING:
    from mtcp.store.plan import Plan, Run
    from mtcp.store.records import RunRecord


def register(app: typer.Typer) -> None:
    """Add this file's command to `app`."""
    app.command()(evaluate)


def evaluate(
    benchmark: BenchmarkName,
    method: Annotated[str | None, typer.Argument(help="A method of config/methods.yaml, such as mtcp.")] = None,
    seed: MaybeSeed = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="A saved network (.safetensors) in any run's folder: judged on BENCHMARK's test split, printed."
        ),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train the run first if it is not trained, as `mtcp train` does.")
    ] = False,
    device: Device = "auto",
    threads: Threads = 1,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate one trained run on the test split: metrics, statistics per image, sample pictures.

    With --train, train it first where needed, in the same process, as the workflow does. With
    --checkpoint, evaluate a saved network on any benchmark with the same tasks, and print its metrics.

    Examples: mtcp evaluate rooms mtcp --seed 20; mtcp evaluate nyud_240 --checkpoint results/runs/.../model.safetensors
    """
    from mtcp.store.plan import Plan
    from mtcp.store.runs import evaluate_run  # imports the evaluation last: it would count in the training's memory

    planned = Plan.load(only=(benchmark, method))
    if checkpoint is not None:
        beside = {"--train": train, "--key": key is not None, "--seed": seed is not None}
        if given := [option for option, present in beside.items() if present]:
            raise UserError(f"mtcp evaluate: --checkpoint names a trained network; leave out {' and '.join(given)}")
        _judge(planned, benchmark, checkpoint, device, threads, as_json)
        return
    if method is None:
        raise UserError("mtcp evaluate: name a METHOD of the grid and a --seed, or a --checkpoint")
    if seed is None:
        raise UserError(f"mtcp evaluate: which run of {method}? name its --seed; `mtcp plan` lists the runs")
    if as_json:
        raise UserError("mtcp evaluate: --json prints the metrics of a --checkpoint; a run's are written to its folder")
    run = planned.run(benchmark, method, seed)
    run.require_chosen()
    require_key(run.name, key, run.eval_key)
    resources, training = planned.resources(benchmark), train and not run.run_path.exists()
    if training:
        prepare_data(planned, run)
    compute_with(threads)
    # One device for both: a GPU that was given back meanwhile might be another run's.
    with held_device(device, resources, resources.together if training else 1) as where:
        if training:
            planned, run = _trained(planned, run, where)
            threads = max(1, threads // resources.together)
            compute_with(threads)
        with progress(f"evaluate {run.name}") as on_image:
            path = evaluate_run(planned, run, where, threads, on_image)
    typer.echo(f"{run.name}: {path.relative_to(planned.root)}")


def _trained(planned: "Plan", run: "Run", device: str) -> tuple["Plan", "Run"]:
    """Train `run`, give back what only training needs, and return the plan and the run as they are now.

    Raises `UserError` where the run's key is another one by now: configuration, code or data changed meanwhile.
    """
    import torch

    from mtcp.store.plan import Plan

    with stop_on_signal() as stop:
        train_planned(planned, run, device, stop)
        if stop():
            print(f"{run.name}: stopped; the same command evaluates it", file=sys.stderr)
            raise typer.Exit(130)
    gc.collect()  # optimiser and loop hold each other
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    now = Plan.load(only=(run.benchmark, run.method))
    again = now.run(run.benchmark, run.method, run.seed)
    require_key(run.name, run.eval_key, again.eval_key)
    return now, again


def _record_of(checkpoint: Path) -> "RunRecord":
    """Return the record of the run that saved `checkpoint`: beside it or, for a snapshot, one folder above.

    Raises `UserError` where there is none, or where the network is not the one that the run saved.
    """
    from mtcp.core.project_files import RECORD
    from mtcp.store.integrity import require_unchanged
    from mtcp.store.records import RunRecord

    if not checkpoint.is_file():
        raise UserError(f"--checkpoint {checkpoint} is no file: name a saved network, as a run's model.safetensors")
    for folder in (checkpoint.parent, checkpoint.parent.parent):
        if (folder / RECORD).exists():
            record, name = RunRecord.read(folder / RECORD), checkpoint.relative_to(folder).as_posix()
            written = {name: record.files[name]} if name in record.files else {}
            require_unchanged(folder, written, "train the run again, or name another network")
            return record
    raise UserError(
        f"{checkpoint} lies in no run's folder: the {RECORD} beside it, which says how the network is built, is missing"
    )


def _judge(planned: "Plan", benchmark: str, checkpoint: Path, device: str, threads: int, as_json: bool) -> None:
    """Print the metrics of a saved network on the test split of `benchmark`."""
    from mtcp.data.loading.batches import open_split
    from mtcp.data.preparation.sets import require_checked
    from mtcp.evaluation.evaluate import evaluate_elsewhere

    compute_with(threads)
    record = _record_of(checkpoint)
    require_checked(planned.project, benchmark)
    trained = record.run_config()
    own = planned.project.benchmark(benchmark)
    # The method as it was trained: its present entry need not exist, and says nothing about the images.
    there = {name: getattr(own, name) for name in ("layout", "tasks", "height", "width", "evaluation")}
    other = trained.model_copy(update={"benchmark": benchmark, **there})
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
