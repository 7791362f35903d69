"""`mtcp grid add-seeds` and what it refuses."""

import shutil

import pytest
from typer.testing import CliRunner

from mtcp.cli.grid import app


@pytest.mark.parametrize("count", ["0", "-3", "1001", "100000000"])
def test_a_count_that_nobody_means_is_refused(count, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["add-seeds", "--", count])
    assert result.exit_code == 2 and "COUNT" in result.output


def test_a_grid_that_can_judge_nothing_says_so(root, tmp_path, monkeypatch):
    shutil.copytree(root / "config", tmp_path / "config")
    (tmp_path / "config/claims.yaml").unlink()
    (tmp_path / "params.yaml").write_text("benchmarks: [rooms]\nmethods: [mtcp]\nseeds: [0]\n")
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, []).output
    assert "no claim of config/claims.yaml can be judged" in said
    page, _, section = said.partition("methods: ")[2].partition(" says how to write one ")
    heading = section.strip().strip("()'")
    assert f"## {heading}\n" in (root / page).read_text(encoding="utf-8")
