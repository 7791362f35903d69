"""What is recorded of a machine: enough to tell processors apart whose results differ by rounding."""

import platform
import subprocess
from pathlib import Path

import pytest

from mtcp.cli.store import doctor
from mtcp.store.environment import described, environment, git_refusal, git_state

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


def test_a_repository_that_git_does_not_read_is_told_by_the_doctor(tmp_path: Path, monkeypatch, capsys) -> None:
    """Such as one of another user, as in a container: runs then have no commit."""
    inside = tmp_path / "study"
    inside.mkdir()
    assert git_refusal(inside) is None
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".git/HEAD").write_text("damaged")
    assert git_state(inside) is None
    assert (git_refusal(inside) or "").startswith("fatal: ")
    monkeypatch.chdir(inside)
    doctor(as_json=True)
    assert "not read by git: fatal: " in capsys.readouterr().out
