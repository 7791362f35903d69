"""What is recorded of a machine: enough to tell processors apart whose results differ by rounding."""

import platform
from pathlib import Path

import pytest

from mtcp.store.environment import described, environment

ZEN = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: {}\nmodel name\t: AMD EPYC\nflags\t\t: fpu {}\n"


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (ZEN.format(1, "avx avx2 bmi2"), "AMD EPYC, family 25 model 1, avx2"),
        (ZEN.format(17, "avx avx2 avx512f") * 2, "AMD EPYC, family 25 model 17, avx512f"),
        ("processor\t: 0\nFeatures\t: fp asimd\n", platform.machine()),
        ("", platform.machine()),
    ],
    ids=["one generation", "the next", "no x86", "nothing"],
)
def test_processors_of_one_name_are_told_apart(cpuinfo: str, name: str) -> None:
    assert described(cpuinfo) == name


def test_the_record_names_this_processor(tmp_path: Path) -> None:
    found = environment("cpu", tmp_path)
    assert found.processor == found.cpu == described(Path("/proc/cpuinfo").read_text())
