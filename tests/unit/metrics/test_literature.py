"""The loss-weighting literature's numbers from statistics per image, against its formulas written out over batches."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mtcp.core.errors import UserError
from mtcp.core.run_config import EvaluationConfig
from mtcp.core.tasks import VOID, make_task
from mtcp.metrics.literature import BASES, delta_m_fixed_base, delta_p
from mtcp.metrics.meter import merge
from mtcp.metrics.meters import meter

BATCH, IMAGES, SIZE = 2, 7, (16, 20)


def examples(name: str):
    """Predictions and truths of 7 images; between 5 and 70 % of the pixels of each have none."""
    generator = torch.Generator().manual_seed(3)
    void = torch.rand(IMAGES, 1, *SIZE, generator=generator) < torch.linspace(0.05, 0.7, IMAGES)[:, None, None, None]
    if name == "depth":
        truth = 0.5 + 9 * torch.rand(IMAGES, 1, *SIZE, generator=generator)
        prediction = truth + torch.randn(truth.shape, generator=generator)  # some are negative
    else:
        truth = F.normalize(torch.randn(IMAGES, 3, *SIZE, generator=generator), dim=1)
        prediction = truth + 0.4 * torch.randn(truth.shape, generator=generator)
    return prediction, torch.where(void, float(VOID), truth), ~void


def computed(name: str, batch: int | None, by: int = 3) -> dict[str, float]:
    """Metrics of the examples judged `by` images at a time."""
    judge = meter(make_task(name), EvaluationConfig(published_batch=batch))
    prediction, truth, _ = examples(name)
    parts = [judge.update(p, t) for p, t in zip(prediction.split(by), truth.split(by), strict=True)]
    return judge.compute(merge(parts))


def over_batches(error: torch.Tensor, valid: torch.Tensor) -> float:
    return float(np.mean([float(e[v].double().mean()) for e, v in zip(error.split(BATCH), valid.split(BATCH))]))  # noqa: B905


def test_depth_errors_are_means_over_batches_and_pooled_ones_stand_beside_them():
    prediction, truth, valid = examples("depth")
    found, error = computed("depth", BATCH), (prediction - truth).abs()
    assert found["abs_error_batches"] == pytest.approx(over_batches(error, valid), rel=1e-6)
    assert found["rel_error_batches"] == pytest.approx(over_batches(error / truth, valid), rel=1e-6)
    assert found["abs_error"] == pytest.approx(float(error[valid].double().mean()), rel=1e-6)
    assert found["rel_error"] == pytest.approx(float((error / truth)[valid].double().mean()), rel=1e-6)
    assert abs(found["abs_error"] - found["abs_error_batches"]) > 1e-3


def test_angles_are_means_over_batches_and_medians_come_from_histograms():
    prediction, truth, valid = examples("normals")
    cosine = (F.normalize(prediction.double(), dim=1) * truth).sum(1, keepdim=True).clamp(-1, 1)
    angle, found = torch.rad2deg(torch.acos(cosine)), computed("normals", BATCH)
    assert found["mean_batches"] == pytest.approx(over_batches(angle, valid), rel=1e-6)
    for name, limit in (("within_11_25", 11.25), ("within_22_5", 22.5), ("within_30", 30)):
        assert found[f"{name}_batches"] == pytest.approx(100 * over_batches((angle < limit).double(), valid), abs=1e-6)
    medians = [np.median(a[v]) for a, v in zip(angle.split(BATCH), valid.split(BATCH), strict=True)]
    assert found["median_batches"] == pytest.approx(np.mean(medians), abs=0.005)
    assert abs(found["median_batches"] - found["median"]) > 0.01


@pytest.mark.parametrize("name", ["depth", "normals"])
def test_grouping_is_by_order_not_by_the_batches_that_were_judged(name):
    assert computed(name, BATCH, by=1) == pytest.approx(computed(name, BATCH, by=7), nan_ok=True)
    whole = computed(name, IMAGES)
    assert {key: whole[f"{key}_batches"] for key in whole if f"{key}_batches" in whole} == pytest.approx(
        {key: whole[key] for key in whole if f"{key}_batches" in whole}
    )
    assert not [key for key in computed(name, None) if key.endswith("_batches")]


def test_an_empty_batch_is_left_out():
    judge = meter(make_task("depth"), EvaluationConfig(published_batch=1))
    truth = torch.tensor([2.0, VOID, 4.0]).reshape(3, 1, 1, 1)
    found = judge.compute(judge.update(torch.full((3, 1, 1, 1), 3.0), truth))
    assert found["rel_error_batches"] == pytest.approx((0.5 + 0.25) / 2)
    assert math.isnan(judge.compute(judge.update(torch.ones(1, 1, 1, 1), truth[1:2]))["abs_error_batches"])


def test_thresholds_of_depth_by_hand():
    judge = meter(make_task("depth"), EvaluationConfig())
    # Ratios 1.2, 1.43, 1.9, huge, and exactly 1.25, which is not below the limit.
    prediction = torch.tensor([2.4, 1.4, 3.8, -1.0, 2.5, 5.0]).reshape(1, 1, 1, 6)
    truth = torch.tensor([2.0, 2.0, 2.0, 2.0, 2.0, VOID]).reshape(1, 1, 1, 6)
    found = judge.compute(judge.update(prediction, truth))
    assert [found[f"within_1_25{power}"] for power in ("", "_2", "_3")] == [20, 60, 80]
    assert found["abs_error"] == pytest.approx((0.4 + 0.6 + 1.8 + 3 + 0.5) / 5)


def test_fixed_base_delta_is_lower_where_the_network_is_better():
    # CAGrad's Table 1, CAGrad (c=0.4): printed 0.20 from these nine numbers.
    values = {
        "semseg": {"miou": 0.3979, "pixel_accuracy": 0.6549},
        "depth": {"abs_error": 0.5486, "rel_error": 0.2250},
        "normals": {"mean": 26.31, "median": 21.58, "within_11_25": 25.61, "within_22_5": 52.36, "within_30": 65.58},
    }
    assert delta_m_fixed_base(values, "NYUv2-13") == pytest.approx(0.20, abs=0.03)
    better = {task: {**found} for task, found in values.items()}
    better["depth"]["abs_error"] *= 0.9
    assert delta_m_fixed_base(better, "NYUv2-13") < delta_m_fixed_base(values, "NYUv2-13")
    assert delta_p(better, BASES["NYUv2-13"]) > delta_p(values, BASES["NYUv2-13"])


def test_delta_p_weighs_tasks_alike():
    base = {"semseg": {"miou": 0.5}, "depth": {"abs_error": 1.0, "rel_error": 0.5}}
    values = {"semseg": {"miou": 0.55}, "depth": {"abs_error": 0.9, "rel_error": 0.5, "rmse": 7.0}}
    assert delta_p(values, base) == pytest.approx((10 + (10 + 0) / 2) / 2)


def test_what_is_missing_is_named():
    with pytest.raises(UserError, match=r"depth\.abs_error, depth\.rel_error"):
        delta_m_fixed_base({"semseg": {"miou": 0.7, "pixel_accuracy": 0.9}}, "Cityscapes-7")
    with pytest.raises(UserError, match="'NYUv2-40' has no fixed base"):
        delta_m_fixed_base({}, "NYUv2-40")
