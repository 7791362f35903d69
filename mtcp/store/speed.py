"""Time and memory of a training step and a prediction, measured separately from the grid, whose runs share the machine.

Every round measures every method once, each alone in a process of its own (`mtcp.store.timing`), so that drift (clock,
temperature) affects all methods equally and rounds can be paired. Images and targets are synthetic: no data are needed,
and loading is not measured. A round's times are medians over its steps, after warm-up steps.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from typing import Final

from mtcp.core.errors import UserError
from mtcp.core.processes import end_with_parent
from mtcp.core.project_files import speed_file
from mtcp.store.environment import environment
from mtcp.store.plan import Plan, Run
from mtcp.store.records import SpeedRecord, SpeedRound

#: The share of the cores that other processes may keep busy during a measurement.
QUIET: Final = 0.1
_TRIES: Final = 3


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
    """Measure the configuration of each of `runs` (one per method) and write a record for each.

    Unless `allow_busy`, raises `UserError` where, after a few tries, other processes still keep more than `QUIET` of
    the cores busy; nothing is written then.
    """
    take = _in_a_process if allow_busy else _quiet_round
    found: dict[str, list[SpeedRound]] = {run.method: [] for run in runs}
    for number in range(rounds):
        for place, run in enumerate(runs):
            found[run.method].append(take(run, device, threads, steps))
            on_round(number * len(runs) + place + 1, rounds * len(runs))
    records = [
        SpeedRecord(
            benchmark=run.benchmark,
            method=run.method,
            train_key=run.train_key,
            device=device,
            threads=threads,
            images=_images(run),
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
    """Yield the current records of the benchmark's methods if all are of one machine, device and number of threads.

    Yields nothing where a method that trains has no record or an outdated one (other code, configuration or batch
    sizes), or where machines differ: times from different machines cannot be compared.
    """
    records = []
    for run in first_runs(plan, benchmark):
        path = speed_file(plan.root, benchmark, run.method)
        record = SpeedRecord.read(path) if path.exists() else None
        if record is None or record.train_key != run.train_key:
            return
        # No key has the size of a prediction's batch. An archive's configuration has that of the training.
        if not run.archived and record.images != _images(run):
            return
        records.append(record)
    if len({(each.environment.model_dump_json(), each.device, each.threads) for each in records}) == 1:
        yield from records


def first_runs(plan: Plan, benchmark: str) -> list[Run]:
    """The run at the first seed of every method of the grid that trains."""
    firsts: dict[str, Run] = {}
    for run in plan.of(benchmark):
        firsts.setdefault(run.method, run)
    return [run for method, run in firsts.items() if plan.project.method(method).family != "trivial"]


def _images(run: Run) -> tuple[int, int]:
    """The batch sizes of a training step and of a prediction."""
    return run.config.training.batch_size, run.config.evaluation.batch_size


def is_busy(others: float | None, cores: int | None) -> bool:
    """Whether other processes kept more than `QUIET` of the cores busy."""
    return others is not None and others > QUIET * (cores or 1)


def _quiet_round(run: Run, device: str, threads: int, steps: int) -> SpeedRound:
    """The first measurement on a quiet machine; raises `UserError` after `_TRIES` measurements on a busy one."""
    busiest = 0.0
    for _ in range(_TRIES):
        one = _in_a_process(run, device, threads, steps)
        if not is_busy(one.others, os.cpu_count()):
            return one
        busiest = max(busiest, one.others or 0.0)
    raise UserError(
        f"the machine is busy: other processes kept up to {busiest:.1f} of {os.cpu_count()} cores busy while "
        f"{run.name} was measured; nothing was kept: repeat it when nothing else runs, or keep such figures with "
        "--allow-busy"
    )


def _in_a_process(run: Run, device: str, threads: int, steps: int) -> SpeedRound:
    from mtcp.store.timing import time_method  # imports torch, which reports that read figures do not need

    context = get_context("forkserver")
    context.set_forkserver_preload([time_method.__module__])
    with ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as pool:
        return pool.submit(time_method, run.config, run.root, device, threads, steps).result()
