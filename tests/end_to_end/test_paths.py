"""Where a project lies is its owner's business: spaces and letters of any language in its path."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_the_whole_workflow_in_a_folder_with_a_space_and_an_accent(tmp_path: Path, small_project) -> None:
    """The environment lies inside, as `make setup` puts it, so that the interpreter's own path has them, too."""
    folder = tmp_path / "My Projekt é"
    folder.mkdir()
    project = small_project(folder)
    project.edit("params.yaml", methods=["mtcp"], seeds=[0])
    project.edit("config/benchmarks/rooms.yaml", training__epochs=1)
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    project.python = str(folder / ".venv/bin/python")
    done = project.snakemake()
    assert done.returncode == 0, done.stderr
    assert "MT-CP" in (folder / "reports/rooms.html").read_text()
    assert "Nothing to be done" in project.snakemake().stderr
    assert "are in order" in project.mtcp("verify").stdout


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system, where there is one."""
    shared = Path("/dev/shm")
    folder = shared / f"mtcp-links-{os.getpid()}" if os.access(shared, os.W_OK) else tmp_path / "elsewhere"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_data_and_results_on_another_disk(tmp_path: Path, elsewhere: Path, small_project, monkeypatch) -> None:
    """Both are symbolic links, the usual way to a large disk: the workflow and single commands go through them."""
    project = small_project(tmp_path / "project")
    for name in ("data", "results"):
        shutil.copytree(project.path / name, elsewhere / name)
        shutil.rmtree(project.path / name)
        (project.path / name).symlink_to(elsewhere / name)
    project.edit("params.yaml", methods=["single_task"], seeds=[0])
    project.edit("config/benchmarks/rooms.yaml", training__epochs=1)
    done = project.snakemake()
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "data/rooms/packaging.json").exists() and list(
        (elsewhere / "results").rglob("metrics/rooms/*.json")
    )
    assert "Nothing to be done" in project.snakemake().stderr
    assert "are in order" in project.mtcp("verify").stdout
    assert project.mtcp("data", "render", "rooms").returncode == 0  # over the set that lies there
    assert project.mtcp("data", "verify", "rooms").returncode == 0
    assert (project.path / "data").is_symlink() and (project.path / "results").is_symlink()
    monkeypatch.setenv("DVC_STAGE", "reproduce")  # as `dvc repro` calls it
    refused = project.snakemake()
    assert refused.returncode and "results is a symbolic link, and DVC caches nothing behind one" in refused.stderr


def test_the_workflow_s_own_test_is_complete(tmp_path: Path, root: Path, project_at) -> None:
    """The workflow catalogue runs `snakemake --directory .test`: rules are planned, and git sees nothing."""
    folder = Path(shutil.copytree(root / ".test", tmp_path / "test", ignore=shutil.ignore_patterns(".snakemake")))
    done = project_at(root).snakemake("-n", "--quiet", "rules", "--directory", str(folder))
    assert done.returncode == 0, done.stderr
    for rule in ("fetch", "check", "train_and_evaluate", "tables_tiny", "metrics", "report_tiny"):
        assert rule in done.stdout + done.stderr
