"""A run in two processes, through the front doors: stopped, killed and resumed, it ends with an unbroken one's bits."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TRAIN = ("mtcp", "train", "rooms", "mtcp", "--seed", "0", "--threads", "2")


@pytest.fixture
def prepared(project):
    """Runs of `rooms` in two processes, long enough to be stopped within."""
    project.edit("params.yaml", methods=["mtcp"], seeds=[0])
    project.edit("config/benchmarks/rooms.yaml", training__epochs=6, resources={"processes": 2, "mem_mb": 2500})
    assert project.mtcp("data", "prepare", "rooms").returncode == 0
    return project


def result(project) -> tuple[bytes, bytes]:
    directory = next((project.path / "results/runs/rooms/mtcp").iterdir())
    assert (directory / "run.json").exists()
    assert not (directory / "state.pt").exists()
    return (directory / "model.safetensors").read_bytes(), (directory / "history.csv").read_bytes()


def workers(parent: int) -> list[int]:
    """The processes that train for `parent`: not the one that multiprocessing keeps beside them."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def started(project) -> subprocess.Popen[str]:
    """A training whose first epoch is over."""
    process = project.start(*TRAIN)
    assert project.wait_for("results/runs/*/*/*/state.pt"), "no epoch ended"
    return process


def gone(pid: int, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


def test_stopped_and_killed_it_ends_with_the_same_bits(prepared) -> None:
    done = prepared.snakemake("--until", "train_and_evaluate")
    assert done.returncode == 0, done.stderr[-3000:]
    unbroken = result(prepared)
    log = next((prepared.path / "logs/runs").rglob("*.log")).read_text()
    assert "training on the CPU in 2 processes" in log

    shutil.rmtree(prepared.path / "results/runs")
    process = started(prepared)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "state saved; the same command goes on from there" in said

    process = prepared.start(*TRAIN)
    history = next((prepared.path / "results/runs").rglob("history.csv"))
    before = history.stat().st_mtime_ns
    while history.stat().st_mtime_ns == before and process.poll() is None:
        time.sleep(0.02)
    os.kill(workers(process.pid)[1], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2, said
    assert "Traceback" not in said
    assert "process 1 of the 2 that train rooms/mtcp/seed0 was killed by SIGKILL" in said
    assert "the same command goes on from there" in said
    assert "failed" in prepared.mtcp("plan").stdout

    done = prepared.run(*TRAIN)
    assert done.returncode == 0, done.stderr
    assert result(prepared) == unbroken


def test_a_stop_whose_state_cannot_be_saved_does_not_say_that_it_was(prepared) -> None:
    process = started(prepared)
    state = next((prepared.path / "results/runs").rglob("state.pt"))
    state.unlink()
    state.mkdir()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2, said
    assert "state.pt" in said and "stands in the way" in said
    assert "state saved" not in said and "Traceback" not in said


def test_processes_end_with_the_one_they_work_for(prepared) -> None:
    prepared.edit("config/benchmarks/rooms.yaml", training__epochs=500)
    process = started(prepared)
    found = workers(process.pid)
    assert len(found) == 2
    process.kill()
    process.communicate()
    assert all(gone(pid) for pid in found)
    assert "interrupted" in prepared.mtcp("plan").stdout


def test_a_mistake_that_shows_in_the_processes_is_one_sentence(prepared) -> None:
    prepared.edit("config/methods.yaml", mtcp__scheme={"name": "mgda", "shared_parameters": "representation"})
    done = prepared.run(*TRAIN)
    assert done.returncode == 2, done.stderr
    assert "mtcp: scheme 'mgda' with `shared_parameters: representation` compares gradients" in done.stderr
    assert "Traceback" not in done.stderr
