"""Recomputing metrics needs no torch, and takes a second for the largest test set at hand."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mtcp.core.run_config import EvaluationConfig
from mtcp.core.tasks import make_task
from mtcp.metrics.meter import merge
from mtcp.metrics.meters import meter
from mtcp.metrics.recompute import metrics_from_statistics, read_statistics


def test_recomputing_does_not_import_torch():
    code = "import sys, mtcp.metrics.recompute; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_subset_of_654_images_takes_less_than_a_second(tmp_path: Path):
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
        for name, values in merge([meter(task, EvaluationConfig()).update(*batches[task.name])] * 327).items()
    }
    np.savez_compressed(tmp_path / "images.npz", ids=np.arange(654).astype(str), **arrays)
    started = time.process_time()
    _, statistics = read_statistics(tmp_path / "images.npz")
    subset = metrics_from_statistics(statistics, tasks, EvaluationConfig(), np.arange(0, 654, 2))
    assert time.process_time() - started < 1
    for task in tasks:
        judge, (prediction, target) = meter(task, EvaluationConfig()), batches[task.name]
        assert subset[task.name] == pytest.approx(judge.compute(judge.update(prediction[:1], target[:1])), rel=1e-6)
