"""Recomputing metrics from stored statistics needs no torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mtcp.core.errors import UserError
from mtcp.core.run_config import EvaluationConfig
from mtcp.core.tasks import make_task
from mtcp.metrics.meter import merge
from mtcp.metrics.meters import meter
from mtcp.metrics.recompute import metrics_by_image, metrics_from_statistics, read_statistics


def test_recomputing_does_not_import_torch():
    code = "import sys, mtcp.metrics.recompute; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_any_subset_of_images_gives_the_metrics_of_those_images_alone(tmp_path: Path):
    torch.manual_seed(0)
    tasks = [make_task("semseg", classes=40), make_task("normals")]
    labels = torch.randint(0, 40, (2, 60, 80))
    directions = F.normalize(torch.randn(2, 3, 60, 80), dim=1)
    batches = {
        "semseg": (torch.randn(2, 40, 60, 80), labels),
        "normals": (directions + 0.2 * torch.randn(2, 3, 60, 80), directions),
    }
    arrays = {
        f"final/{task.name}/{name}": values
        for task in tasks
        for name, values in merge([meter(task, EvaluationConfig()).update(*batches[task.name])] * 20).items()
    }
    np.savez_compressed(tmp_path / "images.npz", ids=np.arange(40).astype(str), **arrays)
    _, statistics = read_statistics(tmp_path / "images.npz")
    assert read_statistics(tmp_path / "images.npz", tasks=["normals"])[1].keys() == {"normals"}
    subset = metrics_from_statistics(statistics, tasks, EvaluationConfig(), np.arange(0, 40, 2))
    alone = metrics_by_image(statistics, tasks, EvaluationConfig(published_batch=2), 3)
    assert alone == [metrics_from_statistics(statistics, tasks, EvaluationConfig(), np.array([k])) for k in range(3)]
    for task in tasks:
        judge, (prediction, target) = meter(task, EvaluationConfig()), batches[task.name]
        assert subset[task.name] == pytest.approx(judge.compute(judge.update(prediction[:1], target[:1])), rel=1e-6)


def test_statistics_that_would_run_code_when_read_are_refused(tmp_path: Path):
    np.savez(tmp_path / "images.npz", ids=np.array(["a"]), **{"final/depth/pixels": np.array([{}], dtype=object)})
    with pytest.raises(UserError, match=r"images\.npz is damaged \(Object arrays cannot be loaded"):
        read_statistics(tmp_path / "images.npz")
