"""`mtcp models` lists architectures with their cost."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from mtcp.cli import models
from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.models.catalogue import catalogue
from mtcp.models.cost import cost

ROOT = Path(__file__).resolve().parents[3]


def listed(*arguments: str) -> str:
    app = typer.Typer()
    models.register(app)
    result = CliRunner().invoke(app, ["models", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.slow
def test_every_architecture_is_listed_with_its_methods(monkeypatch):
    monkeypatch.chdir(ROOT)
    rows = {row["architecture"]: row for row in json.loads(listed("--json"))}
    assert {"mtcp", "mtl_baseline", "single_task", "mtcp (coherence=none)"} <= set(rows)
    assert "mtcp_as_released" in rows["mtcp"]["methods"]
    assert 0 < rows["mtl_baseline"]["gflops"] < rows["mtcp"]["gflops"]
    assert rows["mtcp (coherence=none)"]["parameters"] < rows["mtcp"]["parameters"]
    assert 0 < rows["mtl_baseline"]["shared_gflops"] < rows["mtl_baseline"]["gflops"]
    assert rows["single_task"]["shared_parameters"] == 0
    assert rows["cross_stitch"]["shared_parameters"] > rows["mtan"]["shared_parameters"]
    assert not any(row["refused"] for row in rows.values())


@pytest.mark.slow
def test_the_page_of_costs_is_current(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = listed("--benchmark", "architectures", "--grid", "architectures", "--markdown")
    assert page == (ROOT / "docs/architecture-costs.md").read_text()


def test_the_first_benchmark_of_the_grid_counts(monkeypatch, tmp_path):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "params.yaml").write_text("benchmarks: [people, rooms]\nmethods: [mtcp]\nseeds: [0]\n")
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr("mtcp.models.catalogue.catalogue", lambda project, name, show, grid: asked.append(name) or [])
    listed("--json")
    assert asked == ["people"]


def test_unknown_grid_is_refused(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=r"unknown grid 'attic'.*architectures"):
        listed("--grid", "attic")


def test_an_architecture_that_does_not_take_the_encoder_says_why(tmp_path, monkeypatch):
    config = Project(ROOT).resolve("rooms", "mtan", 0)
    no_chain = config.encoder.model_copy(update={"model": "mobilenetv3_small_050", "args": {}})
    project = SimpleNamespace(
        root=tmp_path, methods={"mtan": None}, resolve=lambda *_: config.model_copy(update={"encoder": no_chain})
    )
    monkeypatch.setattr("mtcp.core.plugins.find", lambda kind, root: {})
    (entry,) = catalogue(project, "rooms", lambda done, total: None)
    assert entry.cost is None
    assert "not a chain of stages" in entry.refusal


def test_unknown_benchmark_is_refused(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match="unknown benchmark 'attic'"):
        listed("--benchmark", "attic")


@pytest.mark.slow
def test_cost_of_the_papers_network():
    # 2.58 TFLOP forward by the released code's operations; fewer here, as projections come before up-samplings.
    found = cost(Project(ROOT).resolve("nyud", "mtcp", 0))
    assert found.parameters == 151_383_582
    assert 2400 < found.gflops < 2580
