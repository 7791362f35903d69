"""Evaluation through its front door: selections of a run, and a saved network on another benchmark's data."""

import json
import shutil

import pytest
import yaml

from mtcp.core.files import read_record

pytestmark = pytest.mark.slow


def test_a_saved_network_is_judged_on_any_benchmark_with_its_tasks(project) -> None:
    project.edit("params.yaml", methods=["mtl_baseline"], seeds=[0])
    project.edit("config/benchmarks/rooms.yaml", training__snapshots=2, baseline="mtl_baseline")
    other = yaml.safe_load((project.path / "config/benchmarks/rooms.yaml").read_text())
    other |= {"label": "Larger rooms", "height": 72, "width": 96}
    for name, classes in (("larger", 13), ("finer", 14)):
        other["tasks"]["semseg"]["classes"] = classes
        (project.path / f"config/benchmarks/{name}.yaml").write_text(yaml.safe_dump(other))
    for name in ("rooms", "larger", "finer"):
        assert project.mtcp("data", "prepare", name).returncode == 0
    for step in ("train", "evaluate"):
        done = project.mtcp(step, "rooms", "mtl_baseline", "--seed", "0")
        assert done.returncode == 0, done.stderr
    (run,) = (project.path / "results/runs/rooms/mtl_baseline").iterdir()
    (path,) = run.glob("metrics-*.json")
    metrics = read_record(path)["metrics"]
    assert set(metrics) == {"last", "validation", "best_on_test"}
    assert set(metrics["validation"]) == set(metrics["best_on_test"]) == {"final"}

    def judged(benchmark: str, checkpoint: str) -> dict[tuple[str, str], float]:
        done = project.mtcp("evaluate", benchmark, "--checkpoint", str(run / checkpoint), "--json")
        assert done.returncode == 0, done.stderr
        return {
            (row["task"], row["metric"]): row["value"] for row in json.loads(done.stdout) if row["output"] == "final"
        }

    last = metrics["last"]["final"]
    assert judged("rooms", "model.safetensors") == {
        (task, name): value for task, values in last.items() for name, value in values.items()
    }
    elsewhere = judged("larger", "model.safetensors")
    assert elsewhere.keys() == judged("larger", "snapshots/epoch-0000.safetensors").keys()
    assert elsewhere["depth", "rmse"] != last["depth"]["rmse"]
    methods = project.path / "config/methods.yaml"
    present = methods.read_text()
    methods.write_text(present.replace("mtl_baseline:", "renamed_since:", 1))
    project.edit("params.yaml", methods=["mtcp"])
    assert judged("larger", "model.safetensors") == elsewhere, "a network needs no method of the present configuration"
    methods.write_text(present)

    stray = shutil.copy(run / "model.safetensors", project.path / "stray.safetensors")
    for benchmark, checkpoint, sentence in (
        ("finer", run / "model.safetensors", "with 13 channels, which has 14 channels in benchmark 'finer'"),
        ("rooms", run / "gone.safetensors", "gone.safetensors is no file: name a saved network"),
        ("rooms", stray, "stray.safetensors lies in no run's folder"),
    ):
        done = project.mtcp("evaluate", benchmark, "--checkpoint", str(checkpoint))
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert sentence in done.stderr
