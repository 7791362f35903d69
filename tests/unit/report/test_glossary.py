"""The words of a page: each task's primary metric is explained under the label that the tables give it."""

from pathlib import Path

import pytest

from mtcp.core.project import Project
from mtcp.report.formats import display
from mtcp.report.glossary import glossary


@pytest.mark.parametrize("name", ["rooms", "people", "nyud", "pascal", "cityscapes", "pascal_lite", "nyuv2_13"])
def test_every_primary_metric_is_explained(root: Path, name: str) -> None:
    benchmark = Project(root).benchmark(name)
    words = glossary(benchmark, about_paper=True)
    for task in benchmark.task_list:
        assert words[display(task.name, task.metric, benchmark).label]
    assert {"Δm", "ROPE", "Holm", "LPS", "trace-back"} <= words.keys()
    assert all(meaning[0].islower() or meaning.startswith("F ") for meaning in words.values())


def test_no_metric_of_another_benchmark_is_explained(root: Path) -> None:
    words = glossary(Project(root).benchmark("pascal_lite"), about_paper=True)
    assert "odsF" in words
    assert "RMSE" not in words
