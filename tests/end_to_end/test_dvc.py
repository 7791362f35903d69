"""`dvc repro` is the same work as Snakemake, cached; results travel between clones through a DVC remote."""

import csv
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

METHODS = ("mtcp", "single_task")


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def left(folder: Path) -> list[str]:
    """What git does not know in the tree, or finds changed."""
    status = subprocess.run(["git", "status", "--porcelain"], cwd=folder, check=True, capture_output=True, text=True)
    return status.stdout.split()


@pytest.fixture
def repository(project):
    """A project under git and DVC, as a user's clone is."""
    for part in ("mtcp", "baselines", ".gitignore", ".dvcignore"):
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, project.path / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, project.path)
    project.edit("params.yaml", methods=["single_task", "mtcp"], seeds=[0])
    assert project.mtcp("data", "render", "rooms").returncode == 0
    git(project.path, "init")
    assert project.run("dvc", "init").returncode == 0
    git(project.path, "add", ".")
    git(project.path, "commit", "-m", "start")
    return project


def said(done) -> str:
    return done.stdout + done.stderr


def test_dvc_repro_is_the_same_work_cached_and_shared(repository, tmp_path_factory) -> None:
    done = repository.run("dvc", "repro")
    assert done.returncode == 0, said(done)
    assert left(repository.path) == ["??", "dvc.lock"], "nothing else is left in the tree"
    again = repository.run("dvc", "repro")
    assert "didn't change, skipping" in said(again), "the second call does nothing"
    assert "Nothing to be done" in said(repository.snakemake()), "nor has the other front door anything to do"

    shown = repository.run("dvc", "metrics", "show")
    head, *rows = shown.stdout.splitlines()
    assert {"Path", "delta_m", "depth_rmse"} <= set(head.split()), said(shown)
    assert [row.split()[0] for row in rows] == [f"results/tables/metrics/rooms/{name}.json" for name in METHODS]
    plots = repository.run("dvc", "plots", "show")
    assert plots.returncode == 0, said(plots)
    assert "delta_m" in (repository.path / "dvc_plots/index.html").read_text()
    assert left(repository.path) == ["??", "dvc.lock"], "nor do plots leave anything"

    git(repository.path, "add", ".")
    git(repository.path, "commit", "-m", "results")
    remote, clone = tmp_path_factory.mktemp("remote"), tmp_path_factory.mktemp("clone") / "project"
    assert repository.run("dvc", "remote", "add", "-d", "store", str(remote)).returncode == 0
    assert repository.run("dvc", "push").returncode == 0
    git(repository.path, "commit", "-am", "remote")
    subprocess.run(["git", "clone", "-q", str(repository.path), str(clone)], check=True)
    second = type(repository)(clone)
    assert second.run("dvc", "pull").returncode == 0
    assert "Nothing to be done" in said(second.snakemake()), "a clone that pulled has nothing to do"
    assert "didn't change, skipping" in said(second.run("dvc", "repro"))
    tables = "results/tables/rooms/runs.csv"
    assert (clone / tables).read_bytes() == (repository.path / tables).read_bytes()

    second.edit("params.yaml", seeds=[0, 1])
    before = {path: path.stat().st_mtime_ns for path in clone.glob("results/runs/*/*/seed0-*/model.safetensors")}
    assert len(before) == 2
    done = second.run("dvc", "repro")
    assert done.returncode == 0, said(done)
    assert before == {path: path.stat().st_mtime_ns for path in before}, "a further seed trains only itself"
    changed = second.run("dvc", "metrics", "diff")
    assert "depth_rmse" in changed.stdout, said(changed)

    git(clone, "add", ".")
    git(clone, "commit", "-m", "two seeds")
    changed = second.run("dvc", "metrics", "diff", "HEAD~1", "HEAD")
    assert "metrics/rooms/mtcp.json" in changed.stdout and "depth_rmse" in changed.stdout, said(changed)
    plots = second.run("dvc", "plots", "diff", "HEAD~1", "HEAD", "--out", "plots")
    assert plots.returncode == 0, said(plots)
    page = (clone / "plots/index.html").read_text()
    assert "HEAD~1" in page, "both commits are in one plot"

    three = trained(second)
    done = second.run("dvc", "exp", "run", "-S", "seeds=[0]", "--name", "one-seed")
    assert done.returncode == 0, said(done)
    assert trained(second) == three, "an experiment on a smaller grid trains nothing"
    with (clone / "results/tables/rooms/provenance.csv").open() as table:
        assert {row["seed"] for row in csv.DictReader(table)} == {"0"}
    shown = second.run("dvc", "exp", "show", "--csv", "--no-pager")
    assert "one-seed" in shown.stdout, said(shown)


def trained(project) -> set[Path]:
    return set((project.path / "results/runs").glob("*/*/*/run.json"))


def test_the_workflow_of_a_second_clone_pulls_an_imported_set(repository, tmp_path_factory) -> None:
    """Rendered rooms, imported as if somebody had given them: from there on a set like any other."""
    for part, value in {
        "tasks": {"semseg": {"classes": 13}, "depth": {}, "normals": {}},
        "height": 48, "width": 64, "channels": 8,
        "encoder": {"kind": "timm", "model": "resnet10t", "args": {"channels": [8, 8, 16, 16], "stem_width": 8}},
        "evaluation": {"batch_size": 4},
        "resources": {"threads": 1, "mem_mb": 1000, "runtime": 5},
    }.items():  # fmt: skip
        repository.edit("config/benchmarks/nyud.yaml", **{part: value})
    repository.edit("params.yaml", benchmarks=["nyud"], methods=["trivial_prior"], seeds=[0])
    refused = repository.snakemake()
    assert refused.returncode != 0
    assert "`mtcp data import nyud PATH`" in said(refused)
    assert "`mtcp data fetch nyud --url URL`" in said(refused)
    done = repository.mtcp("data", "import", "nyud", "data/rooms")
    assert "now commit data/nyud.lock.json and data/nyud.dvc" in done.stdout, said(done)

    remote, clone = tmp_path_factory.mktemp("remote"), tmp_path_factory.mktemp("clone") / "project"
    assert repository.run("dvc", "remote", "add", "-d", "store", str(remote)).returncode == 0
    git(repository.path, "add", ".")
    git(repository.path, "commit", "-m", "data")
    pushed = repository.run("dvc", "push", "data/nyud.dvc")
    assert pushed.returncode == 0, said(pushed)
    subprocess.run(["git", "clone", "-q", str(repository.path), str(clone)], check=True)
    second = type(repository)(clone)
    assert not (clone / "data/nyud").exists()
    done = second.snakemake()
    assert done.returncode == 0, said(done)
    image = sorted((repository.path / "data/nyud/images").iterdir())[0]
    assert (clone / "data/nyud/images" / image.name).read_bytes() == image.read_bytes()
    assert "Per-pixel prior" in (clone / "reports/nyud.html").read_text()


def test_a_second_dvc_repro_is_refused(repository) -> None:
    repository.edit("config/benchmarks/rooms.yaml", training__epochs=100)
    first = repository.start("dvc", "repro")
    try:
        assert repository.wait_for("results/runs/*/*/*/state.pt"), "training did not start"
        second = repository.run("dvc", "repro")
        assert second.returncode != 0
        assert "busy" in said(second) or "lock" in said(second), said(second)
        assert "Traceback" not in said(second)
        other = repository.snakemake()
        assert other.returncode != 0
        assert "cannot be locked" in said(other), "nor does the other front door open"
    finally:
        os.killpg(first.pid, signal.SIGTERM)
        first.communicate()
