"""A training that is stopped or killed at any moment ends with the bits of an unbroken one."""

import os
import random
import shutil
import signal
import subprocess
import time

import pytest

pytestmark = pytest.mark.slow


def result(project) -> tuple[bytes, bytes]:
    directory = next((project.path / "results/runs/rooms/mtcp").iterdir())
    assert (directory / "run.json").exists()
    assert not (directory / "state.pt").exists()
    return (directory / "model.safetensors").read_bytes(), (directory / "history.csv").read_bytes()


@pytest.fixture
def prepared(project):
    project.edit("params.yaml", methods=["mtcp"], seeds=[0])
    project.edit("config/benchmarks/rooms.yaml", training__epochs=4)
    assert project.mtcp("data", "prepare", "rooms").returncode == 0
    return project


TRAIN = ("mtcp", "train", "rooms", "mtcp", "--seed", "0")


def remove_run(project) -> None:
    shutil.rmtree(project.path / "results/runs")


def test_killed_at_random_moments_it_ends_with_the_same_bits(prepared) -> None:
    started = time.monotonic()
    assert prepared.run(*TRAIN).returncode == 0
    whole = time.monotonic() - started
    unbroken = result(prepared)
    draw = random.Random(0)
    for trial in range(5):
        remove_run(prepared)
        process = prepared.start(*TRAIN)
        time.sleep(whole * draw.uniform(0.3, 1.0))
        process.send_signal(signal.SIGKILL if trial % 2 else signal.SIGTERM)
        process.communicate(timeout=120)
        done = prepared.run(*TRAIN)
        assert done.returncode == 0, done.stderr
        assert result(prepared) == unbroken, f"trial {trial} differs"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_training_says_so_and_leaves_its_state(prepared, number: int) -> None:
    prepared.edit("config/benchmarks/rooms.yaml", training__epochs=200)
    process = prepared.start(*TRAIN)
    history = prepared.wait_for("results/runs/*/*/*/history.csv", seconds=60)
    assert history, "no epoch ended within a minute"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "state saved" in stderr
    assert (history.parent / "state.pt").exists()
    assert "interrupted" in prepared.mtcp("plan").stdout


def test_a_second_process_on_one_run_is_refused(prepared) -> None:
    prepared.edit("config/benchmarks/rooms.yaml", training__epochs=200)
    process = prepared.start(*TRAIN)
    try:
        assert prepared.wait_for("results/runs/*/*/*/history.csv"), "no epoch ended"
        second = prepared.run(*TRAIN)
        assert second.returncode == 2
        assert f"in use by process {process.pid}" in second.stderr
        assert "running" in prepared.mtcp("plan").stdout
    finally:
        process.kill()
        process.communicate()


#: A command in a name and process space of its own, as on another machine over the same folder.
ELSEWHERE = ("unshare", "--user", "--map-root-user", "--uts", "--pid", "--fork", "--mount-proc", "sh", "-c")
NAMED = 'hostname elsewhere && exec "$@"'


def elsewhere_works() -> bool:
    return bool(shutil.which("unshare")) and not subprocess.run([*ELSEWHERE, NAMED, "sh", "true"]).returncode


@pytest.mark.skipif(not elsewhere_works(), reason="this machine grants no user namespaces (unshare)")
def test_another_machine_over_the_same_folder_is_refused_and_told_who_is_at_it(prepared) -> None:
    prepared.edit("config/benchmarks/rooms.yaml", training__epochs=200)
    holder = prepared.start(*TRAIN, under=(*ELSEWHERE, NAMED, "sh"))
    try:
        assert prepared.wait_for("results/runs/*/*/*/history.csv"), "no epoch ended"
        second = prepared.run(*TRAIN)
        assert second.returncode == 2
        assert "in use by process 1 on elsewhere" in second.stderr
        assert "running" in prepared.mtcp("plan").stdout
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.communicate()
    prepared.edit("config/benchmarks/rooms.yaml", training__epochs=4)
    assert prepared.run(*TRAIN).returncode == 0


def test_a_truncated_state_is_one_sentence(prepared) -> None:
    prepared.edit("config/benchmarks/rooms.yaml", training__epochs=200)
    process = prepared.start(*TRAIN)
    state = prepared.wait_for("results/runs/*/*/*/state.pt", seconds=60)
    process.kill()
    process.communicate()
    assert state
    state.write_bytes(state.read_bytes()[:1000])
    done = prepared.run(*TRAIN)
    assert done.returncode == 2
    assert "state.pt cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
