"""What a step of training and a prediction cost, measured apart from the grid, whose runs share the machine.

Every round starts every method once, each in a fresh process, and lets them take turns, step by step: what drifts
(clock, temperature, neighbours) meets all methods alike, and rounds can be paired. Images and targets are made up: no
data are needed, and their loading is no part of the figures. Medians over a round's steps, after some that warm up.
"""

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import date
from typing import Final

from mtcp.core.errors import UserError
from mtcp.core.load import Watch
from mtcp.core.project_files import speed_file
from mtcp.core.usage import available_memory_mb
from mtcp.store.environment import environment
from mtcp.store.plan import Plan, Run
from mtcp.store.records import SpeedRecord, SpeedRound
from mtcp.store.timing import Action, Worker

#: Others may keep this share of the cores busy while something is measured.
QUIET: Final = 0.1
_TRIES: Final = 3
_WARM_UP: Final = 2


def measure(
    plan: Plan,
    runs: Sequence[Run],
    device: str,
    *,
    threads: int,
    rounds: int,
    steps: int,
    allow_busy: bool,
    on_round: Callable[[int, int], None],
) -> list[SpeedRecord]:
    """Measure the configuration of each of `runs` (one per method of a benchmark) and write a record for each.

    Raises `UserError` where other processes keep more than `QUIET` of the cores busy, after a few tries, unless
    `allow_busy`; nothing is written then.
    """
    take = _round if allow_busy else _quiet_round
    found: dict[str, list[SpeedRound]] = {run.method: [] for run in runs}
    done, total = 0, rounds * len(runs)
    for group in rounds * _groups(runs, device, plan.resources(runs[0].benchmark).mem_mb):
        for run, one in zip(group, take(group, device, threads, steps), strict=True):
            found[run.method].append(one)
        done += len(group)
        on_round(done, total)
    records = [
        SpeedRecord(
            benchmark=run.benchmark,
            method=run.method,
            train_key=run.train_key,
            device=device,
            threads=threads,
            images=(run.config.training.batch_size, run.config.evaluation.batch_size),
            rounds=tuple(found[run.method]),
            environment=environment(device, plan.root),
            measured=date.today().isoformat(),
        )
        for run in runs
    ]
    for record in records:
        record.write(speed_file(plan.root, record.benchmark, record.method))
    return records


def measured(plan: Plan, benchmark: str) -> Iterator[SpeedRecord]:
    """Yield the records of the benchmark's methods as they are now: of one machine, device and number of threads.

    Nothing where a method that trains has none or an older one, or where they differ: times of different machines, or
    beside the grid's own, compare nothing.
    """
    records = []
    for run in first_runs(plan, benchmark):
        path = speed_file(plan.root, benchmark, run.method)
        record = SpeedRecord.read(path) if path.exists() else None
        if record is None or record.train_key != run.train_key:
            return
        records.append(record)
    if len({(each.environment.model_dump_json(), each.device, each.threads) for each in records}) == 1:
        yield from records


def first_runs(plan: Plan, benchmark: str) -> list[Run]:
    """The run of every method of the grid that trains, at its first seed."""
    firsts: dict[str, Run] = {}
    for run in plan.of(benchmark):
        firsts.setdefault(run.method, run)
    return [run for method, run in firsts.items() if plan.project.method(method).family != "trivial"]


def is_busy(others: float | None, cores: int | None) -> bool:
    """Whether other processes kept more than `QUIET` of the cores busy."""
    return others is not None and others > QUIET * (cores or 1)


def _groups(runs: Sequence[Run], device: str, mem_mb: int) -> list[list[Run]]:
    """Methods that take turns: as many as the free memory holds, each at `mem_mb`; on a GPU each alone."""
    most = max(1, int(available_memory_mb() / mem_mb)) if device == "cpu" else 1
    return [list(runs[first : first + most]) for first in range(0, len(runs), most)]


def _quiet_round(runs: Sequence[Run], device: str, threads: int, steps: int) -> list[SpeedRound]:
    """The first round on a quiet machine; raises `UserError` where `_TRIES` of them were not."""
    busiest = 0.0
    for _ in range(_TRIES):
        found = _round(runs, device, threads, steps)
        others = max((one.others for one in found if one.others is not None), default=None)
        if not is_busy(others, os.cpu_count()):
            return found
        busiest = max(busiest, others or 0.0)
    raise UserError(
        f"the machine is busy: other processes kept up to {busiest:.1f} of {os.cpu_count()} cores busy while "
        f"{', '.join(run.method for run in runs)} took turns; nothing was kept: repeat it when nothing else runs, or "
        "keep such figures with --allow-busy"
    )


def _round(runs: Sequence[Run], device: str, threads: int, steps: int) -> list[SpeedRound]:
    """One round of `runs`: predictions first, since memory is counted by its peak so far."""
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(run, device, threads)) for run in runs]
        used, watch = sum(worker.used() for worker in workers), Watch()
        images = _in_turns(workers, Action.PREDICT, steps)
        image_memory = [worker.memory() for worker in workers]
        trained = _in_turns(workers, Action.STEP, steps)
        others = watch.others(sum(worker.used() for worker in workers) - used)
        return [
            SpeedRound(
                seconds_per_step=statistics.median(step),
                seconds_per_image=statistics.median(image) / run.config.evaluation.batch_size,
                step_memory_mb=worker.memory(),
                image_memory_mb=memory,
                others=others,
            )
            for run, worker, image, memory, step in zip(runs, workers, images, image_memory, trained, strict=True)
        ]


def _in_turns(workers: Sequence[Worker], action: Action, steps: int) -> list[list[float]]:
    """The seconds of every worker's turns, those that warm up left out; another one begins each time."""
    for _ in range(_WARM_UP):
        for worker in workers:
            worker.take(action)
    found: list[list[float]] = [[] for _ in workers]
    for number in range(steps):
        for place in range(number, number + len(workers)):
            found[place % len(workers)].append(workers[place % len(workers)].take(action))
    return found
