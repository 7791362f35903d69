"""CPU time and peak memory of a process and its workers."""

import resource
import time


def cpu_seconds() -> float:
    """CPU seconds of this process and of its finished workers."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def peak_memory_mb(device: str) -> float:
    """Peak memory of this process (CPU: resident set; GPU: allocated on the device) in MiB."""
    if device.startswith("cuda"):
        import torch

        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
