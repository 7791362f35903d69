"""The example scheme and the grid of all schemes."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mtcp.core import plugins
from mtcp.core.project import Project
from mtcp.weighting.base import SchemeContext

pytestmark = pytest.mark.slow

EXAMPLES = plugins.PACKAGE_ROOT / "examples"


def test_balance_by_hand(effective, bench):
    root = EXAMPLES / "own_scheme"
    context = SchemeContext(("a", "b"), 0, 1, 1, (8, 8), bench("equal").network)
    options = plugins.parameters("scheme", "running_balance", {"momentum": 0.5}, root)
    scheme = plugins.load("scheme", "running_balance", root)(context, options)
    assert effective(scheme, [1.0, 3.0]).tolist() == pytest.approx([1.5, 0.5])
    assert effective(scheme, [1.0, 1.0]).tolist() == pytest.approx([4 / 3, 2 / 3])  # means 1 and 2
    assert effective(scheme, [None, 1.0]).tolist() == [1.0]


def test_the_grid_of_schemes_names_every_scheme_and_resolves():
    grid = yaml.safe_load((EXAMPLES / "schemes/params.yaml").read_text())
    configs = [Project(plugins.PACKAGE_ROOT).resolve("schemes", method, 0) for method in grid["methods"]]
    assert {config.scheme.name for config in configs} >= set(plugins.find("scheme", Path("/nonexistent")))
    for config in configs:
        plugins.parameters("scheme", config.scheme.name, config.scheme.given)


def test_the_grid_of_schemes_is_rooms_in_short():
    project = Project(plugins.PACKAGE_ROOT)
    rooms, schemes = project.benchmark("rooms").model_dump(), project.benchmark("schemes").model_dump()
    assert {key for key in rooms if rooms[key] != schemes[key]} == {"label", "data", "training", "reference"}
    differing = {key for key in rooms["training"] if rooms["training"][key] != schemes["training"][key]}
    assert differing == {
        "epochs", "batch_size", "learning_rate", "schedule_per", "warmup_epochs", "clip_norm",
    }  # fmt: skip


def test_the_example_becomes_a_row_of_the_table_and_reruns_nothing(project):
    project.edit("params.yaml", methods=["single_task", "mtcp_equal"], seeds=[0])
    project.edit("config/benchmarks/rooms.yaml", reference="mtcp_equal")
    first = project.snakemake("--until", "train_and_evaluate")
    assert first.returncode == 0, first.stderr
    before = {path: path.stat().st_mtime_ns for path in project.path.glob("results/runs/rooms/*/*/run.json")}
    assert len(before) == 2

    shutil.copy(EXAMPLES / "own_scheme/plugins/running_balance.py", project.path / "plugins")
    with (project.path / "config/methods.yaml").open("a") as methods:
        methods.write((EXAMPLES / "own_scheme/method.yaml").read_text())
    project.edit("params.yaml", methods=["single_task", "mtcp_equal", "running_balance"])
    second = project.snakemake()
    assert second.returncode == 0, second.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    runs = pd.read_csv(project.path / "results/tables/rooms/runs.csv")
    assert set(runs[runs["method"] == "running_balance"]["task"]) >= {"semseg", "depth", "normals", "edge", "cost"}
    history = pd.read_csv(project.path / "results/tables/rooms/history.csv")
    assert "weight_edge" in set(history[history["method"] == "running_balance"]["column"])
