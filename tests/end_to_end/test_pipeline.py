"""The whole pipeline through its front doors, on a small project."""

import json
import os
import shutil
import signal
from pathlib import Path
from zipfile import ZipFile

import pytest

from mtcp.core.files import read_record

pytestmark = pytest.mark.slow

NOTHING = "Nothing to be done"


def trained(project) -> set[Path]:
    return set((project.path / "results/runs").glob("*/*/*/run.json"))


@pytest.fixture
def finished(trained_project, tmp_path: Path):
    """The small project with its four runs, tables and report."""
    return trained_project(tmp_path)


def said(done) -> str:
    return done.stdout + done.stderr


def test_snakemake_leaves_a_report_and_content_decides_what_runs_again(project) -> None:
    done = project.snakemake()
    assert done.returncode == 0, said(done)
    html, tex = project.path / "reports/rooms.html", project.path / "reports/rooms.tex"
    assert "MT-CP" in html.read_text()
    assert r"\toprule" in tex.read_text()
    placed = (project.path / "results/tables/rooms/images.csv").read_text().count(",worst\n")
    assert html.read_text().count("By Δm of the image alone, worst") == placed <= 1, (
        "its sheet is drawn from the network"
    )
    first = trained(project)
    assert len(first) == 4
    tables = {path: path.read_bytes() for path in (project.path / "results/tables/rooms").glob("*.csv")}
    checked = project.mtcp("verify")
    assert checked.returncode == 0, said(checked)
    archived = project.mtcp("archive", "rooms")
    assert archived.stdout == "results/reference/rooms\n", said(archived)
    checked = project.mtcp("verify", "--reference")
    assert checked.stdout.endswith("4 runs of rooms: keys, histories and tables are in order\n"), said(checked)

    done = project.snakemake("--report", "report.zip")
    assert done.returncode == 0, said(done)
    with ZipFile(project.path / "report.zip") as archive:
        shown = "".join(archive.read(name).decode(errors="replace") for name in archive.namelist())
    assert (project.path / "results/tables/rooms/summary.csv").read_text().splitlines()[0].split(",")[1] in shown
    for caption in ("page", "summary", "comparisons", "claims"):
        text = (project.path / f"workflow/report/{caption}.rst").read_text()
        assert text.split(":")[0].split("`")[0][:40] in shown, f"the caption of {caption} is not in Snakemake's report"

    assert NOTHING in said(project.snakemake()), "a second call has nothing to do"
    shutil.rmtree(project.path / ".snakemake")
    for place, seconds in (("config", 4e9), ("results", 1e9), ("data", 4e9)):
        for path in (project.path / place).rglob("*"):
            os.utime(path, (seconds, seconds))
    assert NOTHING in said(project.snakemake()), "nor without Snakemake's own records, nor after the clock jumped"

    summary = project.path / "results/tables/rooms/summary.csv"
    summary.write_bytes(tables[summary].replace(b"0.1", b"0.2"))
    done = project.snakemake()
    assert done.returncode != 0, "a table that was edited is not taken for the runs' own"
    assert "summary.csv is not the file that was written there" in said(done)
    assert "Traceback" not in said(done)
    summary.unlink()
    assert project.snakemake().returncode == 0
    assert summary.read_bytes() == tables[summary], "removed, it is made again"

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


def test_a_changed_evaluation_trains_nothing(finished) -> None:
    before = trained(finished)
    finished.edit("params.yaml", methods=["mtcp"], seeds=[0])
    finished.edit("config/benchmarks/rooms.yaml", baseline="mtcp", evaluation__edge_tolerance=0.02)
    done = finished.snakemake()
    assert done.returncode == 0, said(done)
    assert trained(finished) == before
    assert len(list(finished.path.glob("results/runs/rooms/mtcp/seed0-*/metrics-*.json"))) == 2


def test_a_tampered_run_is_named_and_never_used(finished) -> None:
    metrics = next((finished.path / "results/runs/rooms/mtcp").glob("seed0-*/metrics-*.json"))
    content = json.loads(metrics.read_text())
    content["metrics"]["last"]["final"]["depth"]["rmse"] = 0.001
    metrics.write_text(json.dumps(content))
    checked = finished.mtcp("verify")
    assert checked.returncode == 2
    assert "mtcp/seed0" in checked.stdout
    tables = finished.mtcp("tables", "rooms")
    assert tables.returncode == 2
    assert "was changed after it was written: remove it and run the pipeline again" in tables.stderr
    assert "Traceback" not in tables.stderr
    record = metrics.parent / "run.json"
    for removed in (metrics, record, metrics.parent):
        shutil.rmtree(removed) if removed.is_dir() else removed.unlink()
        done = finished.snakemake()
        assert done.returncode == 0, said(done)
        assert record.exists() and metrics.exists(), f"what was removed is made again: {removed.name}"
        checked = finished.mtcp("verify")
        assert checked.returncode == 0, said(checked)


def test_why_names_what_changed(finished) -> None:
    finished.edit("params.yaml", seeds=[0, 1, 2])
    assert "never been trained" in finished.mtcp("why", "rooms", "mtcp", "--seed", "2").stdout
    finished.edit("config/benchmarks/rooms.yaml", training__learning_rate=0.0123)
    assert "config.training.learning_rate" in finished.mtcp("why", "rooms", "mtcp", "--seed", "0").stdout


def test_a_run_that_diverges_is_a_row_with_its_reason(finished) -> None:
    before = trained(finished)
    finished.edit("params.yaml", seeds=[0])
    finished.edit("config/methods.yaml", mtcp__training={"learning_rate": 1e30})
    done = finished.snakemake()
    assert done.returncode == 0, said(done)
    (new,) = trained(finished) - before
    record = read_record(new)
    assert record["status"] == "diverged"
    assert "step" in record["reason"]
    assert "diverged" in (finished.path / "reports/rooms.html").read_text()


def test_a_second_snakemake_is_refused_and_a_killed_one_loses_nothing(project) -> None:
    project.edit("params.yaml", methods=["mtcp"], seeds=[0])
    project.edit("config/benchmarks/rooms.yaml", baseline="mtcp", training__epochs=30)
    first = project.start("snakemake", "--cores", "1")
    try:
        assert project.wait_for("results/runs/*/*/*/state.pt"), "training did not start"
        os.killpg(first.pid, signal.SIGSTOP)  # so that it cannot end meanwhile
        second = project.snakemake()
        assert second.returncode != 0
        assert "cannot be locked" in said(second)
        assert "Traceback" not in said(second)
        beside = project.snakemake("--nolock", "--until", "train_and_evaluate", "--retries", "0")
        assert beside.returncode != 0
        assert "in use by process" in said(beside), "not even without Snakemake's lock are two at one run"
    finally:
        first.kill()
        os.killpg(first.pid, signal.SIGCONT)
        first.wait()
    # Snakemake is dead, its training goes on: whoever comes next is told, or finds it done.
    assert project.wait_for("results/runs/*/*/*/metrics-*.json", seconds=300)
    unlocked = project.snakemake("--unlock")
    assert unlocked.returncode == 0, said(unlocked)
    before = trained(project).pop().read_bytes()
    done = project.snakemake()
    assert done.returncode == 0, said(done)
    assert trained(project).pop().read_bytes() == before, "the finished training was kept"
    assert project.mtcp("verify").returncode == 0


def test_a_crashed_run_is_a_row_with_its_reason_and_the_rest_stands(project) -> None:
    project.edit("params.yaml", methods=["trivial_prior", "mtcp"], seeds=[0])
    project.edit("config/benchmarks/rooms.yaml", baseline="trivial_prior")
    assert project.mtcp("data", "prepare", "rooms").returncode == 0
    assert project.mtcp("train", "rooms", "trivial_prior", "--seed", "0").returncode == 0
    assert project.mtcp("evaluate", "rooms", "trivial_prior", "--seed", "0").returncode == 0
    run = json.loads(project.mtcp("plan", "--state", "missing", "--json").stdout)[0]
    directory = project.path / "results/runs/rooms/mtcp" / f"seed0-{run['train_key']}"
    directory.mkdir(parents=True)
    (directory / "state.pt").write_bytes(b"half a state")
    assert project.mtcp("train", "rooms", "mtcp", "--seed", "0").returncode == 2
    assert json.loads(project.mtcp("plan", "--state", "failed", "--json").stdout)[0]["run"] == "rooms/mtcp/seed0"
    assert project.mtcp("tables", "rooms").returncode == 2
    done = project.mtcp("tables", "rooms", "--partial")
    assert done.returncode == 0, said(done)
    table = (project.path / "results/tables/rooms/runs.csv").read_text()
    assert "failed" in table
    assert "state.pt cannot be read" in table
    assert "trivial_prior" in table
