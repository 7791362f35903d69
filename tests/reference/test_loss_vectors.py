"""Losses and metrics against the values that the authors' released code gives for the same inputs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mtcp.core.run_config import EvaluationConfig, LossConfig
from mtcp.core.tasks import make_task
from mtcp.metrics.meters import meter
from mtcp.training.losses import task_loss

VECTORS = Path(__file__).parent / "vectors"


@pytest.fixture(scope="module")
def arrays() -> dict[str, torch.Tensor]:
    with np.load(VECTORS / "losses.npz") as stored:
        found = {name: torch.from_numpy(stored[name]) for name in stored.files}
    found["semseg_label"] = found["semseg_label"][:, 0]
    found["parts_pred"] = F.one_hot(found["parts_pred"].long(), 7).movedim(-1, 1).float()
    return found


@pytest.fixture(scope="module")
def scalars() -> dict[str, float]:
    return json.loads((VECTORS / "scalars.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "task", "prediction", "label", "config"),
    [
        ("loss.semseg", make_task("semseg", classes=40), "semseg_logits", "semseg_label", LossConfig()),
        ("loss.depth.capped", make_task("depth"), "depth_pred", "depth_label", LossConfig(depth_cap=6.5535)),
        ("loss.depth.uncapped", make_task("depth"), "depth_pred", "depth_label", LossConfig()),
        ("loss.normals.mse_raw", make_task("normals"), "normals_pred", "normals_label", LossConfig()),
        (
            "loss.normals.l1_unit",
            make_task("normals", loss="normals_l1"),
            "normals_pred",
            "normals_label",
            LossConfig(),
        ),
        ("loss.sal", make_task("sal"), "sal_logits", "sal_label", LossConfig()),
    ],
)
def test_loss(name, task, prediction, label, config, arrays, scalars):
    assert task_loss(task, arrays[prediction], arrays[label], config).item() == pytest.approx(scalars[name], rel=1e-5)


@pytest.mark.parametrize(
    ("task", "prediction", "label", "expected"),
    [
        (make_task("semseg", classes=40), "semseg_logits", "semseg_label", {"miou": "semseg.miou_40"}),
        (make_task("human_parts"), "parts_pred", "parts_label", {"miou": "human_parts.miou_7"}),
        (
            make_task("depth"),
            "depth_pred",
            "depth_label",
            {
                "rmse": "depth.rmse_uncapped",
                "rmse_capped": "depth.rmse_capped",
                "log_rmse_capped": "depth.log_rmse_capped",
            },
        ),
        (
            make_task("normals"),
            "normals_pred",
            "normals_label",
            {
                "mean": "normals.mean",
                "rmse": "normals.rmse",
                "within_11_25": "normals.within_11.25",
                "within_22_5": "normals.within_22.5",
                "within_30": "normals.within_30",
            },
        ),
        (
            make_task("sal"),
            "sal_logits",
            "sal_label",
            {"max_miou": "sal.miou_best_threshold", "max_f": "sal.max_f"},
        ),
    ],
)
def test_metrics(task, prediction, label, expected, arrays, scalars):
    judge = meter(task, EvaluationConfig())
    found = judge.compute(judge.update(arrays[prediction], arrays[label]))
    for ours, theirs in expected.items():
        assert found[ours] == pytest.approx(scalars[f"metric.{theirs}"], rel=1e-5)


def test_median_angle_to_a_hundredth_of_a_degree(arrays, scalars):
    judge = meter(make_task("normals"), EvaluationConfig())
    found = judge.compute(judge.update(arrays["normals_pred"], arrays["normals_label"]))
    assert found["median"] == pytest.approx(scalars["metric.normals.median_numpy"], abs=0.01)
