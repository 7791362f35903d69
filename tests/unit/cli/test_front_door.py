"""The command itself: what the system refuses is one sentence with exit status 2, and odd arguments start nothing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-m", "mtcp")


@pytest.fixture
def project(tmp_path: Path, root: Path) -> Path:
    shutil.copytree(root / "config", tmp_path / "config")
    (tmp_path / "params.yaml").write_text("benchmarks: [rooms]\nmethods: [mtcp]\nseeds: [0]\n")
    return tmp_path


def refused(folder: Path, *arguments: str) -> str:
    done = subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_file_where_a_folder_belongs(project: Path) -> None:
    (project / "data").write_text("a file")
    said = refused(project, "data", "render", "rooms")
    assert said.startswith("mtcp: ")
    assert "File exists" in said or "Not a directory" in said


def test_a_full_disk_behind_the_output_is_told(project: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "schemes", "--json"], cwd=project, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_enough_is_no_error(project: Path) -> None:
    reading = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reading.wait()
    done = subprocess.run(
        [*COMMAND, "schemes", "--json"],
        cwd=project,
        stdout=reading.stdin,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("data", "render", "../x"), "'../x' is not a name"),
        (("data", "import", "", "/tmp"), "'' is not a name"),
        (("data", "fetch", "attic", "--url", "http://localhost:9/a.tgz"), "which layout has 'attic'?"),
        (("show", "benchmark", "../benchmarks/rooms"), "unknown benchmark"),
        (("train", "roms", "mtcp", "--seed", "0"), "unknown benchmark 'roms'"),
        (
            ("train", "rooms", "mtcq", "--seed", "0"),
            "unknown method 'mtcq' in config/methods.yaml; did you mean 'mtcp'",
        ),
        (("train", "rooms", "mtcp", "--seed", "0", "--threads", "100000"), "--threads"),
        (("train", "rooms", "mtcp", "--seed", "99999999999999999999"), "--seed"),
        (("watch", "--every", "inf"), "--every"),
        (("archive", "nope", "--renew"), "results/reference has no archive of 'nope' to renew"),
        (("evaluate", "rooms", "--checkpoint", "nope"), "--checkpoint nope is no file"),
        (("report", "--compare", "a", "b", "--pdf"), "--compare A B goes with no other option"),
        (("literature", "nyuv2_13", "--json", "--format", "html"), "two forms of one output"),
        (("init", "x" * 300), "is too long for a name"),
    ],
)
def test_an_odd_argument_is_one_sentence_and_writes_nothing(
    project: Path, arguments: tuple[str, ...], said: str
) -> None:
    before = sorted(project.rglob("*"))
    assert said in refused(project, *arguments)
    assert sorted(project.rglob("*")) == before


@pytest.mark.parametrize("device", ["mps", "meta", "cuda:x", "tpu"])
def test_a_device_that_nothing_computes_on_is_refused(device: str) -> None:
    from mtcp.cli.options import existing_device
    from mtcp.core.errors import UserError

    with pytest.raises(UserError, match="is no device that mtcp computes on: use cpu, cuda or cuda:N"):
        existing_device(device)


def test_a_study_keeps_in_git_what_the_suite_keeps(tmp_path: Path, root: Path) -> None:
    """Its own .gitignore lets through what others need to check results: lists of data, archives, measured speeds."""
    from mtcp.cli.init import _GITIGNORE

    kept = {
        line for line in (root / ".gitignore").read_text().splitlines() if line.startswith("!/") and "test" not in line
    }
    assert kept <= set(_GITIGNORE.splitlines())
