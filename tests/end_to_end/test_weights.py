"""A run that starts from given weights says which, and other weights make it another run."""

import hashlib
import json

import pytest
import timm
import yaml
from safetensors.torch import save_file

pytestmark = pytest.mark.slow


def test_the_record_names_the_weights_and_others_make_another_run(project) -> None:
    path = project.path / "weights.safetensors"
    encoder = yaml.safe_load((project.path / "config/benchmarks/rooms.yaml").read_text())["encoder"]
    save_file(timm.create_model(encoder["model"], **encoder["args"]).state_dict(), path)
    project.edit("config/benchmarks/rooms.yaml", encoder__weights="weights.safetensors")
    assert project.mtcp("data", "prepare", "rooms").returncode == 0
    trained = project.mtcp("train", "rooms", "single_task", "--seed", "0")
    assert trained.returncode == 0, trained.stderr
    (record,) = project.path.glob("results/runs/rooms/single_task/*/run.json")
    assert json.loads(record.read_text())["weights"] == {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

    def state() -> str:
        runs = json.loads(project.mtcp("plan", "--json").stdout)
        return next(run["state"] for run in runs if run["run"] == "rooms/single_task/seed0")

    trained_with = state()
    save_file(timm.create_model(encoder["model"], **encoder["args"]).state_dict(), path)
    assert (trained_with, state()) == ("trained", "missing")
