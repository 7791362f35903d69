"""`mtcp models` lists architectures with their cost."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mtcp.cli import models
from mtcp.core.config import Project
from mtcp.core.errors import UserError
from mtcp.models.cost import cost

ROOT = Path(__file__).resolve().parents[3]


def listed(*arguments: str) -> str:
    app = typer.Typer()
    models.register(app)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
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
