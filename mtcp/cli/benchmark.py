"""`mtcp benchmark`: seconds and memory per step and image, measured separately from the grid."""

import statistics
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtcp.cli.options import AsJson, BenchmarkName, Device, Threads, held_device, print_table, progress
from mtcp.core.errors import UserError, alternatives
from mtcp.core.words import counted

if TYPE_CHECKING:
    from mtcp.store.records import SpeedRecord

COLUMNS = ["method", "ms_per_step", "steps_spread", "ms_per_image", "images_spread", "images_per_second", "step_mb",
           "image_mb", "rounds", "others"]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(benchmark)


def benchmark(
    benchmark: BenchmarkName,
    methods: Annotated[
        list[str] | None, typer.Argument(help="Methods of the grid; all of them by default.", metavar="[METHOD]...")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=2, help="Times each method is measured, in turns.")] = 8,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps and predictions of a round, after two more.")] = 3,
    allow_busy: Annotated[
        bool, typer.Option("--allow-busy", help="Keep figures although other processes run; reports say so.")
    ] = False,
    device: Device = "auto",
    threads: Threads = 1,
    as_json: AsJson = False,
) -> None:
    """Measure seconds and memory of a training step and of predicting an image, alone on the machine.

    The grid's own times are taken while its runs share the machine. Here methods are measured one at a time, each in a
    fresh process, in turns. Once every method of the grid is measured, tables, reports and the claims about cost use
    these figures; they become invalid when configuration or code change. No data are needed. Refused on a busy machine.

    Example: mtcp benchmark rooms
    """
    from mtcp.store.plan import Plan
    from mtcp.store.speed import first_runs, measure

    planned = Plan.load()
    if benchmark not in planned.project.params.benchmarks:
        raise UserError(f"params.yaml plans no run of benchmark '{benchmark}': add it there")
    runs = first_runs(planned, benchmark)
    if unknown := set(methods or ()) - {run.method for run in runs}:
        raise UserError(
            f"no method '{sorted(unknown)[0]}' that trains in the grid of params.yaml"
            f"{alternatives(sorted(unknown)[0], [run.method for run in runs])}"
        )
    runs = [run for run in runs if not methods or run.method in methods]
    if not runs:
        raise UserError(
            f"params.yaml has no method that trains for benchmark '{benchmark}', so there is nothing to time"
        )
    for run in runs:
        run.require_chosen()
    if together := [run.name for run in runs if run.config.processes > 1]:
        raise UserError(
            f"{together[0]} trains in several processes (`resources` of config/benchmarks/{benchmark}.yaml), and what "
            "is measured here is one: set `processes: 1`, or `gpu: 1`"
        )
    with held_device(device, planned.resources(benchmark)) as where, progress(f"measuring on {where}") as bar:
        records = measure(
            planned,
            runs,
            where,
            threads=threads,
            rounds=rounds,
            steps=steps,
            allow_busy=allow_busy,
            on_round=bar,
        )
    print_table(COLUMNS, [_row(record) for record in records], as_json, title=_title(records[0]))


def _title(record: "SpeedRecord") -> str:
    where = f"{counted(record.threads, 'thread')} on {record.environment.processor}"
    return f"{record.benchmark}: {where}, medians and quartiles over rounds"


def _row(record: "SpeedRecord") -> dict[str, Any]:
    steps = [1e3 * one.seconds_per_step for one in record.rounds]
    images = [1e3 * one.seconds_per_image for one in record.rounds]
    busiest = max((one.others for one in record.rounds if one.others is not None), default=None)
    return {
        "method": record.method,
        "ms_per_step": round(statistics.median(steps), 2),
        "steps_spread": _quartiles(steps),
        "ms_per_image": round(statistics.median(images), 3),
        "images_spread": _quartiles(images),
        "images_per_second": round(1e3 * record.images[0] / statistics.median(steps), 2),
        "step_mb": max(one.step_memory_mb for one in record.rounds),
        "image_mb": max(one.image_memory_mb for one in record.rounds),
        "rounds": len(record.rounds),
        "others": None if busiest is None else round(busiest, 2),
    }


def _quartiles(values: list[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{low:.3g} to {high:.3g}"
