"""The progress of the grid, read from the store: epoch, losses and time left of each run. Does not import torch."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median

from mtcp.core.project_files import HISTORY, LOCK
from mtcp.store.plan import Plan, Run
from mtcp.store.records import readable_metrics, readable_records
from mtcp.training.history import LOSS, read_history


@dataclass(frozen=True)
class Progress:
    """One run: its state, epochs done and planned, losses of the last epoch, seconds of work left.

    A run is finished when it is evaluated, a trial when it is trained.
    """

    run: str
    state: str
    epoch: int
    epochs: int
    losses: dict[str, float]
    seconds_left: float | None
    finished: bool


@dataclass(frozen=True)
class Cost:
    """Median seconds of an epoch and of an evaluation, None where none is known."""

    epoch: float | None
    evaluation: float | None

    def left(self, run: Run, epochs: int) -> float | None:
        """Seconds that `run` needs after `epochs` epochs; an evaluation counts once one has been timed."""
        remaining = run.config.training.epochs - epochs
        if remaining and self.epoch is None:
            return None
        return remaining * (self.epoch or 0.0) + (0.0 if run.trial is not None else self.evaluation or 0.0)


def look(plan: Plan) -> list[Progress]:
    """Return the progress of every trial and run of the grid, as the store shows it now."""
    known = cache(cost_of)  # read only where a run of the method has work left
    return [_progress(run, known) for run in (*plan.trials, *plan.runs)]


def grid_seconds_left(rows: Iterable[Progress]) -> float | None:
    """Seconds until the grid is finished, if as many runs stay active as now; None where a run's time is unknown."""
    rows = list(rows)
    left = [row.seconds_left for row in rows]
    if any(seconds is None for seconds in left):
        return None
    at_once = max(1, sum(row.state == "running" for row in rows))
    return sum(seconds for seconds in left if seconds is not None) / at_once


def cost_of(method_folder: Path) -> Cost:
    """What the finished runs of one method took, whatever their key."""
    # The prior has no epochs: its whole time counts as that of the epochs it was planned with.
    epochs = [
        record.seconds / (record.epochs or record.config["training"]["epochs"])
        for _, record in readable_records(method_folder)
    ]
    evaluations = [record.seconds for record in readable_metrics(method_folder) if record.seconds is not None]
    return Cost(median(epochs) if epochs else None, median(evaluations) if evaluations else None)


def history_of(run: Run) -> list[dict[str, float]]:
    """The history rows that a run's training has written so far."""
    path = run.directory / HISTORY
    return read_history(path) if path.exists() else []


def _progress(run: Run, known: Callable[[Path], Cost]) -> Progress:
    state, epochs = run.state(), run.config.training.epochs
    if state == "done" or (state == "trained" and run.trial is not None):
        return Progress(run.name, state, epochs, epochs, {}, 0.0, finished=True)
    cost = known(run.directory.parent)
    if state == "trained":
        return Progress(run.name, state, epochs, epochs, {}, cost.left(run, epochs), finished=False)
    rows = history_of(run)
    losses = {key.removeprefix(LOSS): value for key, value in rows[-1].items() if key.startswith(LOSS)} if rows else {}
    if cost.epoch is None and state == "running":
        cost = replace(cost, epoch=_running_cost(run, len(rows)))
    return Progress(run.name, state, len(rows), epochs, losses, cost.left(run, len(rows)), finished=False)


def _running_cost(run: Run, epochs: int) -> float | None:
    """Seconds per epoch of a running run, counted from when its process took the lock; too low if it was resumed."""
    if not epochs:
        return None
    try:
        started = (run.directory / LOCK).stat().st_mtime
        written = (run.directory / HISTORY).stat().st_mtime
    except FileNotFoundError:
        return None
    return max(min(written, time.time()) - started, 0.0) / epochs
