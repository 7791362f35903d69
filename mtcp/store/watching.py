"""The progress of the grid, read from the store: epoch, losses and time left of each run. Does not import torch."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mtcp.core.project_files import HISTORY, LOCK, RUNS
from mtcp.store.plan import TRAINED, Plan, Run
from mtcp.store.records import readable_records
from mtcp.training.history import LOSS, read_history


@dataclass(frozen=True)
class Progress:
    """One run: its state, epochs done and planned, losses of the last epoch, seconds of training left."""

    run: str
    state: str
    epoch: int
    epochs: int
    losses: dict[str, float]
    seconds_left: float | None

    @property
    def trained(self) -> bool:
        return self.state in TRAINED


def look(plan: Plan) -> list[Progress]:
    """Return the progress of every trial and run of the grid, as the store shows it now."""
    costs = seconds_per_epoch(plan.root, {(run.benchmark, run.method) for run in plan.runs})
    return [_progress(run, costs.get((run.benchmark, run.method))) for run in (*plan.trials, *plan.runs)]


def grid_seconds_left(rows: Iterable[Progress]) -> float | None:
    """Seconds until the grid is trained, if as many runs stay active as now; None where a run's time is unknown."""
    rows = list(rows)
    left = [row.seconds_left for row in rows if not row.trained]
    if any(seconds is None for seconds in left):
        return None
    at_once = max(1, sum(row.state == "running" for row in rows))
    return sum(seconds for seconds in left if seconds is not None) / at_once


def seconds_per_epoch(root: Path, methods: Iterable[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Median seconds per epoch of the finished runs of each (benchmark, method), whatever their key."""
    costs = {}
    for benchmark, method in methods:
        records = (record for _, record in readable_records(root / RUNS / benchmark / method))
        if found := [record.seconds / record.epochs for record in records if record.epochs]:
            costs[benchmark, method] = median(found)
    return costs


def history_of(run: Run) -> list[dict[str, float]]:
    """The history rows that a run's training has written so far."""
    path = run.directory / HISTORY
    return read_history(path) if path.exists() else []


def _progress(run: Run, cost: float | None) -> Progress:
    state, epochs = run.state(), run.config.training.epochs
    if state in TRAINED:
        return Progress(run.name, state, epochs, epochs, {}, 0.0)
    rows = history_of(run)
    losses = {key.removeprefix(LOSS): value for key, value in rows[-1].items() if key.startswith(LOSS)} if rows else {}
    cost = cost or (_running_cost(run, len(rows)) if state == "running" else None)
    left = None if cost is None else cost * (epochs - len(rows))
    return Progress(run.name, state, len(rows), epochs, losses, left)


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
