"""GPU slots, with fake devices."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mtcp.core.errors import UserError
from mtcp.store.gpu_slots import gpu_slot, visible_devices

HOLD = """
import sys, time
from pathlib import Path
from mtcp.store.gpu_slots import gpu_slot
with gpu_slot({runs}, Path(sys.argv[1]), 0.02, {count}) as device:
    print(device, flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def two_fake_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def hold(folder: Path, seconds: float, runs: int = 1, count: int = 1) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD.format(runs=runs, count=count), str(folder), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_each_run_gets_a_gpu_of_its_own_and_the_third_waits(tmp_path: Path) -> None:
    first, second = hold(tmp_path, 60), hold(tmp_path, 60)
    assert {first.stdout.readline().strip(), second.stdout.readline().strip()} == {"0", "1"}
    third = hold(tmp_path, 0)
    time.sleep(0.3)
    assert third.poll() is None, "no device is free"
    second.send_signal(signal.SIGKILL)
    second.wait()
    assert third.communicate(timeout=10)[0].strip() in ("0", "1"), "a killed run gives its slot back"
    first.kill()
    first.wait()


def test_small_runs_share_a_gpu_only_when_every_gpu_has_one(tmp_path: Path) -> None:
    running = [hold(tmp_path, 60, runs=2) for _ in range(4)]
    devices = sorted(process.stdout.readline().strip() for process in running)
    assert devices == ["0", "0", "1", "1"]
    for process in running:
        process.kill()
        process.wait()


def test_a_run_on_several_gpus_takes_all_or_none(tmp_path: Path) -> None:
    small = hold(tmp_path, 60)
    assert small.stdout.readline().strip() == "0"
    large = hold(tmp_path, 60, count=2)
    time.sleep(0.3)
    assert large.poll() is None, "one of two is taken"
    another = hold(tmp_path, 0)
    assert another.communicate(timeout=10)[0].strip() == "1", "the waiting run holds nothing"
    small.kill()
    small.wait()
    assert large.stdout.readline().strip() == "0,1"
    large.kill()
    large.wait()


def test_more_gpus_than_the_machine_has_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"asks for 3 GPUs a run \(`resources.gpu`\), and this machine has 2"),
        gpu_slot(1, tmp_path, count=3),
    ):
        pass


def test_the_choice_is_the_only_visible_device_and_is_taken_back(tmp_path: Path) -> None:
    with gpu_slot(1, tmp_path) as device:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == device
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


@pytest.mark.parametrize("value", ["", "-1"])
def test_no_gpu_is_no_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_devices() == []
    with gpu_slot(1, tmp_path) as device:
        assert device is None


def test_under_slurm_the_scheduler_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    with gpu_slot(1, tmp_path, count=2) as device:
        assert device is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_runs_inside_a_slurm_allocation_divide_its_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with gpu_slot() as first:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # as another process of the job sees it
        with gpu_slot() as second:
            assert (first, second) == ("0", "1")
    (folder,) = tmp_path.iterdir()
    assert folder.name.endswith("-1"), "another job may number its GPUs from 0, too"
