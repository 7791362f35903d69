"""Train a run in several processes on this machine with torchrun's launcher: one per GPU, or any number on a CPU.

The calling process does not train. It waits, forwards progress to the listeners, and forwards a stop to all processes.
"""

import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from mtcp.core.errors import UserError
from mtcp.core.processes import end_with_parent
from mtcp.core.run_config import RunConfig
from mtcp.core.startup import compute_with, quiet_libraries
from mtcp.core.usage import peak_memory_mb
from mtcp.training.group import joined
from mtcp.training.loop import Interrupted, Listeners, TrainingResult
from mtcp.training.together import train_share

#: Seconds before a process exits on an unexpected error. The error may only mean that another process died; that one
#: must exit first, because the first to exit is the one reported.
_AFTER: Final = 1.0
_POLL: Final = 0.05


@dataclass(frozen=True)
class Outcome:
    """The result of the training, and the sum of the processes' peak memory in MiB."""

    result: TrainingResult
    peak_memory_mb: float


def train_together(config: RunConfig, data: Path, directory: Path, device: str, listeners: Listeners) -> Outcome:
    """Train as `loop.train` does, in `config.processes` processes, which divide this process's threads among them.

    Raises `Interrupted` where the caller asked to stop, `UserError` where a process was killed or raised one, and
    `RuntimeError` with the process's traceback for any other failure.
    """
    context = multiprocessing.get_context("spawn")
    reports, reporter = context.Pipe(duplex=False)
    asked, done = context.Event(), threading.Event()
    watcher = threading.Thread(target=_pass_on, args=(reports, asked, done, listeners), daemon=True)
    threads = max(1, torch.get_num_threads() // config.processes)
    for library in ("torch.distributed.elastic", "torch.multiprocessing"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # failures are reported once, below
    watcher.start()
    quit_handler = signal.getsignal(signal.SIGQUIT)  # the launcher sets its own and leaves it
    try:
        with tempfile.TemporaryDirectory() as logs:
            launch = elastic_launch(_settings(config.processes, logs), _work)
            outcomes = launch(config, data, directory, device, threads, asked, reporter)
    except ChildFailedError as failed:
        if asked.is_set() and _stopped_at_start(failed):
            raise Interrupted from failed
        raise _explained(failed, config) from None
    finally:
        signal.signal(signal.SIGQUIT, quit_handler)
        done.set()
        watcher.join()
    if outcomes[0] is None:
        raise Interrupted
    return Outcome(outcomes[0][0], round(sum(memory for _, memory in outcomes.values()), 1))


def _settings(processes: int, logs: str) -> LaunchConfig:
    """The settings of `torchrun --standalone --nproc-per-node PROCESSES`, without restarts."""
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=f"mtcp-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=logs),
        signals_to_handle="SIGQUIT",  # the caller handles the other signals: they stop the run at its next step
    )


def _pass_on(reports: Connection, asked: Event, done: threading.Event, listeners: Listeners) -> None:
    """Forward the first process's reports to the listeners, and a stop to all processes."""
    while not done.is_set() or reports.poll():
        if listeners.stop():
            asked.set()
        with suppress(EOFError, OSError):
            if reports.poll(_POLL):
                what, arguments = reports.recv()
                getattr(listeners, what)(*arguments)


def _stopped_at_start(failed: ChildFailedError) -> bool:
    """Whether the process that failed first ended by the stop, which kills one that does not ignore its signal yet."""
    _, failure = failed.get_first_failure()
    spoke = isinstance(failure.message, dict)  # it was training, and says why it failed
    return not spoke and failure.exitcode in (1, -signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP)


def _explained(failed: ChildFailedError, config: RunConfig) -> Exception:
    """The error of the process that failed first: a `UserError` with its message, any other with its traceback."""
    rank, failure = failed.get_first_failure()
    which = f"process {rank} of the {config.processes} that train {config.benchmark}/{config.method}/seed{config.seed}"
    if failure.exitcode < 0:
        return UserError(
            f"{which} was killed by {failure.signal_name()} (memory, a time limit, or by hand): the state of the last "
            "epoch is kept, and the same command goes on from there"
        )
    said: Any = failure.message if isinstance(failure.message, dict) else {"message": failure.message}
    kind, _, sentence = str(said["message"]).partition(": ")
    if kind == UserError.__name__:
        return UserError(sentence)
    error = RuntimeError(f"{which} failed: {said['message']}")
    error.add_note(str(said.get("extraInfo", {}).get("py_callstack", "")))
    return error


def _work(
    config: RunConfig, data: Path, directory: Path, device: str, threads: int, asked: Event, reporter: Connection
) -> tuple[TrainingResult, float] | None:
    """Train in one process: (result, peak memory in MiB), or None where the run was asked to stop."""
    end_with_parent()
    quiet_libraries()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # sent to all processes of a terminal or job; the caller handles it
    compute_with(threads)
    rank = int(os.environ["RANK"])
    own = torch.device(device, rank) if device == "cuda" else torch.device(device)
    if own.type == "cuda":
        torch.cuda.set_device(own)

    def report(what: str) -> Any:
        return (lambda *arguments: reporter.send((what, arguments))) if rank == 0 else (lambda *arguments: None)

    listeners = Listeners(report("on_step"), report("on_epoch"), asked.is_set)
    try:
        with joined(own) as group:
            result = train_share(config, data, directory, own, listeners, group)
    except Interrupted:
        return None
    except UserError:
        raise
    except Exception:
        time.sleep(_AFTER)
        raise
    return result, peak_memory_mb(str(own))
