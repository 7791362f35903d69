"""The load that other processes put on the machine during a measurement."""

import os
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path


def _busy_seconds() -> float | None:
    """CPU seconds of all processes since boot, including time stolen by a hypervisor; None where not on Linux."""
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
    """Measures, from its creation on, how many cores other processes use."""

    started: float = field(default_factory=time.perf_counter)
    busy: float | None = field(default_factory=_busy_seconds)
    own: float = field(default_factory=_own_seconds)

    def others(self) -> float | None:
        """Mean number of cores that other processes kept busy, at least 0; None where not on Linux."""
        now = _busy_seconds()
        if now is None or self.busy is None:
            return None
        return max((now - self.busy - _own_seconds() + self.own) / (time.perf_counter() - self.started), 0.0)
