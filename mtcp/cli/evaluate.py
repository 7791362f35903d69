"""`mtcp evaluate`: evaluate one network on a test split."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtcp.cli.options import (
    AsJson,
    BenchmarkName,
    Device,
    Key,
    Seed,
    Threads,
    held_device,
    print_table,
    progress,
    require_key,
)
from mtcp.cli.train import require_chosen, train_planned
from mtcp.core.errors import UserError
from mtcp.core.startup import compute_with, uncollected

if TYPE_CHECKING:
    from mtcp.store.plan import Plan
    from mtcp.store.records import RunRecord


def register(app: typer.Typer) -> None:
    """Add this file's command to `app`."""
    app.command()(evaluate)


def evaluate(
    benchmark: BenchmarkName,
    method: Annotated[str | None, typer.Argument(help="A method of config/methods.yaml, such as mtcp.")] = None,
    seed: Seed = 0,
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

    With --train, train it first where needed, in the same process; the workflow does this for every run. With
    --checkpoint, evaluate a saved network on any benchmark with the same tasks, and print its metrics.

    Examples: mtcp evaluate rooms mtcp --seed 0; mtcp evaluate nyud_240 --checkpoint results/runs/.../model.safetensors
    """
    from mtcp.store.plan import Plan

    planned = Plan.load(only=(benchmark, method))
    if checkpoint is not None:
        if train:
            raise UserError("mtcp evaluate: --checkpoint names a trained network; leave out --train")
        _judge(planned, benchmark, checkpoint, device, threads, as_json)
        return
    if method is None:
        raise UserError("mtcp evaluate: name a METHOD of the grid, or a --checkpoint")
    run = planned.run(benchmark, method, seed)
    require_chosen(run)
    require_key(run.name, key, run.eval_key)
    if train and not run.run_path.exists():
        train_planned(planned, run, device, threads)
    with uncollected():
        from mtcp.store.runs import evaluate_run

    compute_with(threads)
    with held_device(device, planned.resources(benchmark)) as where, progress(f"evaluate {run.name}") as on_image:
        path = evaluate_run(planned, run, where, threads, on_image)
    typer.echo(f"{run.name}: {path.relative_to(planned.root)}")


def _record_of(checkpoint: Path) -> "RunRecord":
    """Return the record of the run that saved `checkpoint`: beside it or, for a snapshot, one folder above."""
    from mtcp.core.project_files import RECORD
    from mtcp.store.records import RunRecord

    if not checkpoint.is_file():
        raise UserError(f"--checkpoint {checkpoint} is no file: name a saved network, as a run's model.safetensors")
    for folder in (checkpoint.parent, checkpoint.parent.parent):
        if (folder / RECORD).exists():
            return RunRecord.read(folder / RECORD)
    raise UserError(
        f"{checkpoint} lies in no run's folder: the {RECORD} beside it, which says how the network is built, is missing"
    )


def _judge(planned: "Plan", benchmark: str, checkpoint: Path, device: str, threads: int, as_json: bool) -> None:
    """Print the metrics of a saved network on the test split of `benchmark`."""
    from mtcp.data.loading.batches import open_split
    from mtcp.evaluation.evaluate import evaluate_elsewhere

    compute_with(threads)
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
