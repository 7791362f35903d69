"""Where a project lies is its owner's business: spaces and letters of any language in its path."""

import sys
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
