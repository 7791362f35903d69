"""Training and evaluation of one planned run in the run store, with its lock and its record.

`run.json` is written last: a run directory without it is unfinished, whatever else it contains.
"""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mtcp.core.errors import UserError
from mtcp.core.files import writable, write_text
from mtcp.core.project_files import BEST_ON_VALIDATION, HISTORY, LOCK, MODEL, STATE, snapshots
from mtcp.core.startup import uncollected
from mtcp.core.usage import cpu_seconds, peak_memory_mb
from mtcp.store.environment import environment, git_state
from mtcp.store.integrity import digests, require_unchanged
from mtcp.store.plan import Plan, Run
from mtcp.store.records import DataRecord, Determinism, MetricsRecord, RunRecord

if TYPE_CHECKING:
    from mtcp.training.loop import Listeners, TrainingResult


def train_run(
    plan: Plan,
    run: Run,
    device: str,
    *,
    stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[int, int], None],
    on_epoch: Callable[[dict[str, float]], None],
) -> RunRecord:
    """Train `run` unless it is trained; write and return its record. Raises `Interrupted` where `stop` says so in time.

    Divergence is a result: it is recorded with its reason, and the run is evaluated without metrics.
    """
    from mtcp.data.preparation.sets import require_checked
    from mtcp.models.weights import weights_record
    from mtcp.training.loop import Listeners

    with locked(run.directory):
        if run.run_path.exists():
            return run.record()
        run.failure_path.unlink(missing_ok=True)
        manifest = require_checked(plan.project, run.benchmark)
        weights = weights_record(run.config.encoder)  # before a long training, as the hub may be unreachable
        folder = plan.data_folder(run.benchmark)
        seen = _data_record(run, manifest.get("note", ""), folder)
        started, cpu = datetime.now(UTC), cpu_seconds()
        with _reason_kept(run):
            result, memory = _trained(run, folder, device, Listeners(on_step, on_epoch, stop))
        record = RunRecord(
            benchmark=run.benchmark,
            method=run.method,
            seed=run.seed,
            train_key=run.train_key,
            key_parts=run.parts,
            config=run.config.model_dump(mode="json"),
            status=result.status,
            reason=result.reason,
            flags=result.flags,
            epochs=result.epochs,
            parameters=result.parameters,
            seconds=round(result.seconds, 3),
            cpu_seconds=round(cpu_seconds() - cpu, 3),
            gpu_seconds=round(run.config.processes * result.seconds, 3) if device.startswith("cuda") else 0.0,  # held
            seconds_per_step=result.seconds_per_step,
            images_per_second=result.images_per_second,
            peak_memory_mb=memory,
            load=_load(),
            device=device,
            determinism=_determinism(),
            environment=environment(device, plan.root),
            data=seen,
            weights=weights,
            git=git_state(plan.root),
            started=started.isoformat(timespec="seconds"),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            files=digests(run.directory, _results(run.directory)),
        )
        record.write(run.run_path)
        (run.directory / STATE).unlink(missing_ok=True)
        return record


def _data_record(run: Run, note: str, folder: Path) -> DataRecord:
    from mtcp.data.formats import packaging
    from mtcp.data.formats.class_names import class_names

    names = class_names(run.config.layout, run.config.task_list, packaging.read(folder))
    classes = {task: list(known) for task, known in names.items() if known}
    return DataRecord(digest=run.parts["data"], note=note, classes=classes)


def _trained(run: Run, data: Path, device: str, listeners: "Listeners") -> tuple["TrainingResult", float]:
    """Train in the run's number of processes; return the result and the peak memory in MiB."""
    if run.config.processes == 1:
        from mtcp.training.loop import train

        return train(run.config, data, run.directory, device, listeners), peak_memory_mb(device)
    from mtcp.training.launching import train_together

    outcome = train_together(run.config, data, run.directory, device, listeners)
    return outcome.result, outcome.peak_memory_mb


def evaluate_run(plan: Plan, run: Run, device: str, threads: int, on_image: Callable[[int, int], None]) -> Path:
    """Evaluate the trained `run` on the test split; write its statistics and then its metrics; return their path.

    A diverged run gets a record without metrics.
    """
    with uncollected():
        from mtcp.evaluation import evaluate
    from mtcp.data.preparation.sets import require_checked

    if not run.run_path.exists():
        raise UserError(
            f"run {run.name} has no finished checkpoint: train it first with "
            f"`mtcp train {run.benchmark} {run.method} --seed {run.seed}`"
        )
    with locked(run.directory), _reason_kept(run):
        run.failure_path.unlink(missing_ok=True)
        (run.directory / STATE).unlink(missing_ok=True)  # left by a process that was killed at the very end
        require_checked(plan.project, run.benchmark)
        trained = run.record()
        require_unchanged(run.directory, trained.files, f"remove {run.directory} and train the run again")
        started = time.monotonic()
        record = MetricsRecord(
            benchmark=run.benchmark,
            method=run.method,
            seed=run.seed,
            train_key=run.train_key,
            eval_key=run.eval_key,
        )
        if trained.status == "finished":
            found = evaluate.evaluate_networks(
                run.config,
                data=plan.data_folder(run.benchmark),
                directory=run.directory,
                device=device,
                threads=threads,
                on_image=on_image,
            )
            evaluate.write_statistics(run.images_path, found.last)
            record = record.model_copy(
                update={
                    "images": len(found.last.ids),
                    "seconds": round(time.monotonic() - started, 3),
                    "seconds_per_image": found.last.seconds_per_image,
                    "load": _load(),
                    "gflops": found.gflops,
                    "non_finite": found.last.non_finite(),
                    "metrics": found.metrics,
                    "files": digests(run.directory, [run.images_path]),
                }
            )
        record.write(run.metrics_path)
    return run.metrics_path


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Lock the run directory for this process; the kernel releases the lock when the process ends in any way.

    Raises `UserError` naming the holder where another process has the lock.
    """
    with writable(directory):
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _taken(handle):
            holder = os.read(handle, 200).decode(errors="replace").strip() or "another process"
            raise UserError(f"{directory} is in use by {holder}: wait for it, or stop it first")
        if os.fstat(handle).st_nlink == 0:
            raise UserError(f"{directory} was removed by another process: try again")
        with writable(directory):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            for part in directory.glob(".*-*"):
                part.unlink(missing_ok=True)  # left by a killed process: under the lock, nobody else writes here
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    """Try to take the lock, several times: `mtcp plan` holds it briefly to see whether a run is running."""
    for _ in range(10):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
        else:
            return True
    return False


@contextmanager
def _reason_kept(run: Run) -> Iterator[None]:
    """Write the reason of a crash to the run's directory, for partial tables and, before its record, `mtcp plan`."""
    from mtcp.training.loop import Interrupted

    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        with contextlib.suppress(UserError):
            write_text(run.failure_path, f"{kind}{error}\n")
        raise


def _results(directory: Path) -> list[Path]:
    """The files of a finished training, except its record."""
    found = [directory / name for name in (MODEL, BEST_ON_VALIDATION, HISTORY)]
    return [path for path in (*found, *snapshots(directory)) if path.exists()]


def _load() -> float:
    """The system's load average: the mean number of processes that wanted a core in the last minute."""
    return round(os.getloadavg()[0], 2)


def _determinism() -> Determinism:
    import torch

    return Determinism(
        deterministic_algorithms=torch.are_deterministic_algorithms_enabled(),
        cudnn_deterministic=torch.backends.cudnn.deterministic,
        cudnn_benchmark=torch.backends.cudnn.benchmark,
        tf32=bool(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32),
        threads=torch.get_num_threads(),
    )
