"""Assign GPUs to runs on a workstation: Snakemake counts GPUs but does not say which one a run gets.

A slot is a lock file per device and place on it. The kernel releases the lock when the process ends, even if it is
killed, so no slot is ever lost. In a job of a scheduler that assigns devices (SLURM), its runs share those of the job.
"""

import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mtcp.core.errors import UserError

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


@contextmanager
def gpu_slot(
    runs_per_gpu: int = 1, folder: Path | None = None, poll_seconds: float = 1.0, count: int = 1
) -> Iterator[str | None]:
    """Reserve `count` free GPUs of this machine and make only these visible; waits while too few are free.

    Yields the devices, separated by commas, or None where there is nothing to choose: no GPU, or a scheduler chose as
    many as a run needs.
    Must be entered before torch first looks for a GPU. Raises `UserError` where the machine has fewer GPUs.
    """
    devices = visible_devices()
    job = os.environ.get("SLURM_JOB_ID", "")
    if not devices or (job and (VISIBLE not in os.environ or len(devices) <= count)):
        yield None
        return
    if len(devices) < count:
        raise UserError(
            f"the benchmark asks for {count} GPUs a run (`resources.gpu`), and this machine has {len(devices)}: "
            "ask for fewer, or choose another machine; a run's result depends on their number"
        )
    folder = folder or Path(tempfile.gettempdir()) / (f"mtcp-gpu-slots-{os.getuid()}" + (f"-{job}" if job else ""))
    folder.mkdir(parents=True, exist_ok=True)
    before = os.environ.get(VISIBLE)
    while not (held := _take(devices, runs_per_gpu, folder, count)):
        time.sleep(poll_seconds)
    os.environ[VISIBLE] = ",".join(held)
    try:
        yield os.environ[VISIBLE]
    finally:
        for handle in held.values():
            os.close(handle)
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before


def visible_devices() -> list[str]:
    """The GPUs that this process may use: those of CUDA_VISIBLE_DEVICES, else all that nvidia-smi lists."""
    if VISIBLE in os.environ:
        return [device.strip() for device in os.environ[VISIBLE].split(",") if device.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(index) for index, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]


def _take(devices: Sequence[str], runs_per_gpu: int, folder: Path, count: int) -> dict[str, int]:
    """Lock places on `count` devices, every device's first place before any second one; {device: lock}.

    All or none: two runs that each held half of what they need would deadlock.
    """
    held: dict[str, int] = {}
    for place in range(runs_per_gpu):
        for device in devices:
            if device in held or len(held) == count:
                continue
            name = device.replace("/", "_")
            handle = os.open(folder / f"{name}.{place}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            held[device] = handle
    if len(held) == count:
        return held
    for handle in held.values():
        os.close(handle)
    return {}
