"""The whole pipeline through its front doors, on a small project."""

import json
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NOTHING = "Nothing to be done"


def trained(project) -> set[Path]:
    return set((project.path / "results/runs").glob("*/*/*/run.json"))


def said(done) -> str:
    return done.stdout + done.stderr


def test_snakemake_leaves_a_report_and_content_decides_what_runs_again(project) -> None:
    done = project.snakemake()
    assert done.returncode == 0, said(done)
    html, tex = project.path / "reports/rooms.html", project.path / "reports/rooms.tex"
    assert "MT-CP" in html.read_text()
    assert r"\toprule" in tex.read_text()
    first = trained(project)
    assert len(first) == 4
    tables = {path: path.read_bytes() for path in (project.path / "results/tables/rooms").glob("*.csv")}
    assert project.mtcp("verify").returncode == 0, said(project.mtcp("verify"))

    assert NOTHING in said(project.snakemake()), "a second call has nothing to do"
    shutil.rmtree(project.path / ".snakemake")
    assert NOTHING in said(project.snakemake()), "nor without Snakemake's own records"

    project.edit("params.yaml", seeds=[0])
    assert project.snakemake().returncode == 0
    assert trained(project) == first, "a smaller grid trains nothing"
    assert b",1," not in (project.path / "results/tables/rooms/runs.csv").read_bytes().replace(b",1,1,", b"")

    project.edit("params.yaml", seeds=[0, 1])
    done = project.snakemake()
    assert done.returncode == 0, said(done)
    assert trained(project) == first, "changing it back trains nothing"
    assert tables == {path: path.read_bytes() for path in tables}, "and gives the same bytes"

    html.unlink()
    assert project.snakemake().returncode == 0
    assert html.exists(), "a deleted report is made again"
    assert trained(project) == first


def test_a_changed_evaluation_trains_nothing(project) -> None:
    project.edit("params.yaml", methods=["mtcp"], seeds=[0])
    project.edit("config/benchmarks/rooms.yaml", baseline="mtcp")
    assert project.snakemake().returncode == 0
    before = trained(project)
    project.edit("config/benchmarks/rooms.yaml", evaluation__edge_tolerance=0.02)
    done = project.snakemake()
    assert done.returncode == 0, said(done)
    assert trained(project) == before
    assert len(list(next(iter(before)).parent.glob("metrics-*.json"))) == 2


def test_a_tampered_run_is_named_and_never_used(project) -> None:
    project.edit("params.yaml", methods=["single_task", "mtcp"], seeds=[0])
    assert project.snakemake().returncode == 0
    metrics = next((project.path / "results/runs/rooms/mtcp").glob("*/metrics-*.json"))
    content = json.loads(metrics.read_text())
    content["metrics"]["last"]["final"]["depth"]["rmse"] = 0.001
    metrics.write_text(json.dumps(content))
    checked = project.mtcp("verify")
    assert checked.returncode == 2
    assert "mtcp/seed0" in checked.stdout
    tables = project.mtcp("tables", "rooms")
    assert tables.returncode == 2
    assert "was changed after it was written" in tables.stderr
    assert "Traceback" not in tables.stderr


def test_why_names_what_changed(project) -> None:
    assert "never been trained" in project.mtcp("why", "rooms", "mtcp", "--seed", "0").stdout
    project.edit("params.yaml", methods=["mtcp"], seeds=[0])
    assert project.snakemake("--until", "train").returncode == 0
    project.edit("config/benchmarks/rooms.yaml", training__learning_rate=0.002)
    assert "config.training.learning_rate" in project.mtcp("why", "rooms", "mtcp", "--seed", "0").stdout


def test_a_run_that_diverges_is_a_row_with_its_reason(project) -> None:
    project.edit("params.yaml", methods=["single_task", "mtcp"], seeds=[0])
    project.edit("config/methods.yaml", mtcp__training={"learning_rate": 1e30})
    done = project.snakemake()
    assert done.returncode == 0, said(done)
    record = json.loads(next((project.path / "results/runs/rooms/mtcp").glob("*/run.json")).read_text())
    assert record["status"] == "diverged"
    assert "step" in record["reason"]
    assert "diverged" in (project.path / "reports/rooms.html").read_text()
