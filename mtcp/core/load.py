"""What else the machine does while something is measured on it."""

import os
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path


def _busy_seconds() -> float | None:
    """Processor seconds of all processes since the start, time that a hypervisor took away included; None off Linux."""
    try:
        first = Path("/proc/stat").read_text().splitlines()[0]
    except OSError:
        return None
    user, nice, system, _, _, *others = first.split()[1:9]
    return sum(map(int, (user, nice, system, *others))) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@dataclass(frozen=True)
class Watch:
    """Started when it is made; knows how much of the machine other processes took since then."""

    started: float = field(default_factory=time.perf_counter)
    busy: float | None = field(default_factory=_busy_seconds)
    own: float = field(default_factory=_own_seconds)

    def others(self) -> float | None:
        """Cores that other processes kept busy on average, at least 0; None where the system does not say."""
        now = _busy_seconds()
        if now is None or self.busy is None:
            return None
        return max((now - self.busy - _own_seconds() + self.own) / (time.perf_counter() - self.started), 0.0)
