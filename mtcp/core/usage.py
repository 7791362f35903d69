"""CPU time and peak memory of a process and its workers."""

import ctypes
import re
import resource
import time
from contextlib import suppress
from pathlib import Path


def cpu_seconds() -> float:
    """CPU seconds of this process and of its finished workers."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def peak_memory_mb(device: str) -> float:
    """Peak memory of this process (CPU: resident set; GPU: allocated on the device) in MiB."""
    if device.startswith("cuda"):
        import torch

        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return round(_peak_resident_kib() / 1024, 1)


def _peak_resident_kib() -> int:
    """Linux's peak of this program; elsewhere of this process, which may have begun as a copy of a larger one."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak_memory(device: str) -> None:
    """Let `peak_memory_mb` count from now on, where the system can: on a GPU, and on Linux."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)  # memory that is freed and kept would count as used
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak of the resident set
