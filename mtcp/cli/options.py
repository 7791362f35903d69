"""Arguments that several commands share, and helpers for devices, tables and progress bars."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtcp.core.randomness import LARGEST_SEED

if TYPE_CHECKING:
    from mtcp.core.config import ResourceConfig

BenchmarkName = Annotated[
    str, typer.Argument(help="A benchmark of config/benchmarks/, such as rooms.", metavar="BENCHMARK")
]
MethodName = Annotated[str, typer.Argument(help="A method of config/methods.yaml, such as mtcp.", metavar="METHOD")]
_SEED = typer.Option("--seed", min=0, max=LARGEST_SEED, help="The repetition; seeds are paired across methods.")
Seed = Annotated[int, _SEED]
MaybeSeed = Annotated[int | None, _SEED]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda or cuda:N; auto is a GPU where the benchmark wants one.")
]
Threads = Annotated[int, typer.Option("--threads", min=1, max=1024, help="CPU threads to compute with.")]
Key = Annotated[str | None, typer.Option("--key", help="The key that the caller expects; refused where it differs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]


@contextmanager
def held_device(name: str, resources: "ResourceConfig", gpus: int = 1) -> Iterator[str]:
    """Yield the torch device to run on; `auto` reserves `gpus` free GPUs inside the block if the benchmark wants GPUs.

    Raises `UserError` for a device that does not exist, or for too few of them.
    """
    from mtcp.store.devices import existing_device
    from mtcp.store.gpu_slots import gpu_slot

    if name == "auto" and resources.gpu:
        with gpu_slot(resources.runs_per_gpu, count=gpus) as slot:
            yield existing_device("cuda" if slot is not None or _gpu_given() else "cpu", gpus)
    else:
        yield "cpu" if name == "auto" else existing_device(name, gpus)


def _gpu_given() -> bool:
    import torch

    return torch.cuda.is_available()


def require_key(name: str, expected: str | None, now: str) -> None:
    """Raise `UserError` where the key of `name` is no longer the one that the caller planned."""
    if expected not in (None, now):
        from mtcp.core.errors import UserError

        raise UserError(
            f"{name}: its key is now {now} where the caller planned {expected}: configuration, code or data changed "
            f"while the workflow ran; start it again"
        )


def print_table(columns: list[str], rows: list[dict[str, Any]], as_json: bool, title: str | None = None) -> None:
    """Print rows as an aligned table, or as JSON."""
    if as_json:
        typer.echo(json.dumps(rows, indent=1, default=str))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*("" if row.get(column) is None else str(row[column]) for column in columns))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal and nothing in a log; yields a function of (done, total)."""
    with stages(title) as stage:
        yield stage("")


@contextmanager
def stages(title: str) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Like `progress`, for work in stages, which the bar names: yields a function of the stage's name."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def stage(name: str) -> Callable[[int, int], None]:
            said = f"{title}: {name}" if name else title
            return lambda done, total: bar.update(task, description=said, completed=done, total=total)

        yield stage
