"""The peak of memory: it holds what was freed, until it is forgotten."""

import subprocess
import sys

import pytest

FORGOTTEN = """
import numpy as np
from mtcp.core.usage import forget_peak_memory, peak_memory_mb

start = peak_memory_mb("cpu")
values = np.ones(50_000_000)
held = peak_memory_mb("cpu")
del values
freed = peak_memory_mb("cpu")
forget_peak_memory("cpu")
forgotten = peak_memory_mb("cpu")
values = np.ones(10_000_000)
print(start, held, freed, forgotten, peak_memory_mb("cpu"))
"""

STARTED_BY_A_LARGE_PROCESS = """
import os, sys
import numpy as np

values = np.ones(50_000_000)
code = "from mtcp.core.usage import peak_memory_mb; print(peak_memory_mb('cpu'))"
os.execv(sys.executable, [sys.executable, "-c", code])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak includes the parent's")
def test_what_a_process_was_before_it_became_this_program_is_not_its_memory():
    said = subprocess.run(
        [sys.executable, "-c", STARTED_BY_A_LARGE_PROCESS], capture_output=True, text=True, check=True
    )
    assert float(said.stdout) < 100


@pytest.mark.skipif(sys.platform != "linux", reason="the peak cannot be reset")
def test_a_forgotten_peak_counts_from_what_is_held():
    said = subprocess.run([sys.executable, "-c", FORGOTTEN], capture_output=True, text=True, check=True).stdout
    start, held, freed, forgotten, later = map(float, said.split())
    assert held > start + 370 and freed > held - 1
    assert abs(forgotten - start) < 20
    assert 70 < later - forgotten < 100
