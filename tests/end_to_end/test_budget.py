"""Tuning under a budget through Snakemake: trials, choice, then the runs with the chosen configuration."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

NOTHING = "Nothing to be done"
BUDGET = {"configurations": 2, "learning_rate": [1e-4, 1e-2], "weight_decay": [1e-6, 1e-2]}


def store(project) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in project.path.glob("results/runs/*/*/*/run.json")}


def choices(project, tried: int) -> dict[str, dict]:
    """The record of every method's choice among `tried` configurations; those of other budgets lie beside it."""
    records = [(path, json.loads(path.read_text())) for path in project.path.glob("results/runs/*/*/choice-*")]
    return {path.parent.name: record for path, record in records if len(record["trials"]) == tried}


def said(done) -> str:
    return done.stdout + done.stderr


def test_a_budget_from_the_first_call_to_the_tables_and_back(project) -> None:
    project.edit("params.yaml", methods=["mtl_baseline", "fixed_tuned"])
    project.edit("config/benchmarks/rooms.yaml", budget=BUDGET, baseline="mtl_baseline", reference="fixed_tuned")
    dry = project.snakemake("-n")
    assert dry.returncode == 0, said(dry)
    assert "choose" in dry.stdout
    done = project.snakemake()
    assert done.returncode == 0, said(done)
    chosen = choices(project, 2)
    assert set(chosen) == {"mtl_baseline", "fixed_tuned"}
    first = store(project)
    assert len(first) == 6, "two methods: two trials, one of which is the first seed's run, and the second seed"
    for method, record in chosen.items():
        tried = record["trials"][record["chosen"]]
        second = next(project.path.glob(f"results/runs/rooms/{method}/seed1-*/run.json"))
        config = json.loads(second.read_text())["config"]
        assert tried["training"].items() <= config["training"].items()
        assert config["scheme"].get("weights", {}) == tried["scheme"].get(
            "weights", config["scheme"].get("weights", {})
        )
    methods = pd.read_csv(project.path / "results/tables/rooms/methods.csv").set_index("method")
    assert methods.configurations.to_dict() == {"mtl_baseline": 2, "fixed_tuned": 2}
    assert (methods.tuning_cpu_seconds > 0).all() and (methods.tuning_gpu_seconds == 0).all()
    report = (project.path / "reports/rooms.html").read_text()
    assert "Chosen by the loss on validation images" in report and "CPU min" in report
    checked = project.mtcp("verify")
    assert checked.returncode == 0, said(checked)
    planned = project.mtcp("plan")
    assert "4 trials, 4 trained; 4 runs, 4 done; 0 superseded" in planned.stdout
    assert "configuration" in project.mtcp("why", "rooms", "fixed_tuned", "--seed", "1").stdout

    assert NOTHING in said(project.snakemake()), "a second call has nothing to do"
    shutil.rmtree(project.path / ".snakemake")
    assert NOTHING in said(project.snakemake()), "nor without Snakemake's own records"

    tables = {path: path.read_bytes() for path in (project.path / "results/tables/rooms").glob("*.csv")}
    project.edit("config/benchmarks/rooms.yaml", budget__configurations=3)
    done = project.snakemake()
    assert done.returncode == 0, said(done)
    after, now = store(project), choices(project, 3)
    assert {path: after[path] for path in first} == first, "what was trained stays"
    changed = sum(record["chosen"] == 2 for record in now.values())
    assert len(after) == len(first) + 2 + changed, "one trial more a method, and a second seed where it won"

    project.edit("config/benchmarks/rooms.yaml", budget__configurations=2)
    done = project.snakemake()
    assert done.returncode == 0, said(done)
    assert store(project) == after, "changing it back trains nothing"
    assert {path: path.read_bytes() for path in tables} == tables

    project.edit("config/benchmarks/rooms.yaml", validation_share=0.0)
    refused = project.snakemake()
    assert refused.returncode != 0
    assert "`budget` chooses by the loss on validation images, and `validation_share` is 0" in said(refused)
    assert "Traceback" not in said(refused)


def test_a_trial_that_diverges_is_never_chosen(project) -> None:
    project.edit("params.yaml", methods=["mtcp_equal"], seeds=[0])
    project.edit("config/benchmarks/rooms.yaml", budget={**BUDGET, "learning_rate": [1e30, 1e31]})
    project.edit("config/benchmarks/rooms.yaml", baseline="mtcp_equal", reference="mtcp_equal")
    done = project.snakemake()
    assert done.returncode == 0, said(done)
    (record,) = choices(project, 2).values()
    assert [trial["status"] for trial in record["trials"]] == ["finished", "diverged"]
    assert record["chosen"] == 0
    assert "diverged" not in (project.path / "results/tables/rooms/runs.csv").read_text()
