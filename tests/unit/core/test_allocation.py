"""Freed tensors go back to the system, so that a process holds what it uses."""

import sys
from pathlib import Path

import pytest
import torch

from mtcp.allocation import MAPPED, return_large_blocks


def resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_tensors_freed_before_the_last_one_leave_no_hole():
    torch.zeros(1 << 22)  # freed at once, after which glibc by itself would keep blocks of up to 16 MiB
    return_large_blocks()
    before = resident_bytes()
    tensors = [torch.zeros(2 * MAPPED // 4) for _ in range(100)]
    assert resident_bytes() - before > 150 * MAPPED
    last = tensors.pop()
    tensors.clear()
    assert resident_bytes() - before < 50 * MAPPED
    assert not last.any()
