"""A run's own GPUs on a workstation: Snakemake counts them, it does not say which; this does.

A slot is a lock file per device and place on it. The kernel holds the lock for the process and frees it when the
process dies, however it dies, so no slot is ever lost. Under a scheduler that hands out devices itself (SLURM)
nothing is allocated here.
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
    """Hold `count` free GPUs of this machine and make them the only visible ones; waits while too many are taken.

    Yields the devices, with commas between them, or None where there is none to choose: no GPU, or a scheduler has
    chosen. Must be entered before torch first looks for a GPU. Raises `UserError` where the machine has fewer.
    """
    devices = visible_devices()
    if not devices or "SLURM_JOB_ID" in os.environ:
        yield None
        return
    if len(devices) < count:
        raise UserError(
            f"the benchmark asks for {count} GPUs a run (`resources.gpu`), and this machine has {len(devices)}: "
            "ask for fewer, or choose another machine; a run's result depends on their number"
        )
    folder = folder or Path(tempfile.gettempdir()) / f"mtcp-gpu-slots-{os.getuid()}"
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
    """Lock the first free places on `count` devices, spreading over devices before sharing one; {device: lock}.

    All or none: two runs that each hold half of what they need would wait for ever.
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
