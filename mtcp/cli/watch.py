"""`mtcp watch`: the progress of the grid while it runs."""

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mtcp.cli.options import AsJson
from mtcp.core.words import counted

if TYPE_CHECKING:
    from rich.table import Table

    from mtcp.store.watching import Progress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(watch)


def watch(
    every: Annotated[int, typer.Option("--every", min=1, max=3600, help="Seconds between two looks.")] = 5,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    to: Annotated[
        Literal["tensorboard", "wandb"] | None,
        typer.Option("--to", help="Also write every epoch's values there (wandb: offline)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Watch the grid: state, epoch, losses and time left of each run, read from the store.

    Ends when every run is evaluated, or with Ctrl-C; it does not affect the runs. With --to, values are also written to
    results/tensorboard, or to results/wandb for `wandb sync`.

    Example: mtcp watch --once
    """
    from rich.console import Console
    from rich.live import Live

    from mtcp.store.plan import Plan
    from mtcp.store.watching import look

    planned, follower = Plan.load(), None
    if to is not None:
        from mtcp.store.trackers import Follower

        follower = Follower(planned, to)
    try:
        rows = look(planned)
        if follower:
            follower.follow(planned)
        if as_json:
            typer.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
            return
        console = Console()
        with Live(_table(rows, None if once else console.height), console=console, auto_refresh=False) as live:
            while not once and not all(row.finished for row in rows):
                time.sleep(every)
                if any(run.waiting and run.choice and run.choice.path.exists() for run in planned.runs):
                    planned = Plan.load()
                rows = look(planned)
                if follower:
                    follower.follow(planned)
                live.update(_table(rows, console.height), refresh=True)
    except KeyboardInterrupt:
        raise typer.Exit from None
    finally:
        if follower:
            follower.close()


def _table(rows: "Sequence[Progress]", height: int | None = None) -> "Table":
    """The grid as a table; if the runs do not fit `height` lines, running ones first, then those to come."""
    from rich.table import Table

    from mtcp.store.watching import grid_seconds_left

    finished = sum(row.finished for row in rows)
    table = Table(
        title=f"{finished} of {counted(len(rows), 'run')} finished, {_words(grid_seconds_left(rows))} left",
        title_justify="left", caption_justify="left", box=None, header_style="bold", pad_edge=False,
    )  # fmt: skip
    for column in ("run", "state", "epoch", "left", "losses"):
        table.add_column(column)
    if height is not None and len(rows) > (room := max(height - 4, 1)):
        left = [row for row in rows if not row.finished]
        shown = sorted(left, key=lambda row: row.state != "running")[:room]
        table.caption = f"{len(rows) - len(shown)} more: mtcp plan"
        rows = shown
    for row in rows:
        losses = "  ".join(f"{task} {value:.4f}" for task, value in row.losses.items())
        left = "" if row.finished else _words(row.seconds_left)
        table.add_row(row.run, row.state, f"{row.epoch}/{row.epochs}", left, losses)
    return table


def _words(seconds: float | None) -> str:
    if seconds is None:
        return "unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
