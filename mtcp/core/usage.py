"""What a process and its workers took of the machine, and what is left of its memory."""

import os
import resource
import time
from pathlib import Path


def cpu_seconds() -> float:
    """Processor seconds of this process and of its workers that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def peak_memory_mb(device: str) -> float:
    """Peak memory of this process (CPU: resident set; GPU: allocated on the device) in MiB."""
    if device.startswith("cuda"):
        import torch

        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def available_memory_mb() -> float:
    """Memory that new processes can have, in MiB: what is free and, on Linux, what caches would give back."""
    meminfo = Path("/proc/meminfo")
    for line in meminfo.read_text().splitlines() if meminfo.exists() else ():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
