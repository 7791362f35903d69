"""The worked example of docs/metrics.md runs, and the page names every metric and every statistic."""

import re
from pathlib import Path

import pytest
import torch

from mtcp.core.run_config import EvaluationConfig
from mtcp.core.tasks import KINDS, VOID, make_task
from mtcp.metrics.coherence import COHERENCE_METRICS
from mtcp.metrics.meters import meter


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs/metrics.md").read_text(encoding="utf-8")


def test_the_worked_example_runs(page):
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "docs/metrics.md", "exec"), {})


def test_every_metric_of_coherence_is_documented(page):
    for name in COHERENCE_METRICS:
        assert f"`{name}`" in page


@pytest.mark.parametrize("name", KINDS)
def test_every_metric_and_statistic_is_documented(page, name):
    judge = meter(make_task(name, classes=2 if name == "semseg" else None), EvaluationConfig())
    shape = (1, 8, 8) if judge.task.loss == "cross_entropy" else (1, judge.task.channels, 8, 8)
    statistics = judge.update(torch.zeros(1, judge.task.channels, 8, 8), torch.full(shape, VOID))
    names = {*judge.compute(statistics), *statistics}
    missing = {given for given in names if f"`{given.removesuffix('_capped')}`" not in page}
    assert not missing
