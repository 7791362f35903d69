"""Meters: by hand, independent of batches, with void, absent classes and broken predictions."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mtcp.core.errors import UserError
from mtcp.core.run_config import EvaluationConfig
from mtcp.core.tasks import KINDS, VOID, make_task
from mtcp.metrics.meter import ImageError, merge, select
from mtcp.metrics.meters import meter
from mtcp.metrics.segmentation import most_likely

CONFIG = EvaluationConfig(edge_tolerance=0.05)


def judge(name: str, classes: int = 3):
    return meter(make_task(name, classes=classes) if name == "semseg" else make_task(name), CONFIG)


def example(name: str, images: int, seed: int = 0, size: tuple[int, int] = (10, 12)):
    """Random prediction and target with some void."""
    torch.manual_seed(seed)
    channels = judge(name).task.channels
    prediction = torch.randn(images, channels, *size)
    if name in ("semseg", "human_parts"):
        target = torch.randint(0, channels, (images, *size))
    elif name == "normals":
        target = F.normalize(torch.randn(images, 3, *size), dim=1)
    elif name == "depth":
        target = torch.rand(images, 1, *size) * 9 + 0.5
    else:
        target = (torch.rand(images, 1, *size) > 0.8).float()
    target[..., :2] = VOID
    return prediction, target


def one_hot(classes: list[int], count: int = 3) -> torch.Tensor:
    return F.one_hot(torch.tensor([[classes]]), count).movedim(-1, 1).float()


# --- by hand -----------------------------------------------------------------------------------------------------


def test_iou_by_hand_with_an_absent_class():
    # Class 0: TP 2, FN 1; class 1, true in a single pixel: TP 1, FP 1; class 2 nowhere; one pixel void.
    m = judge("semseg")
    found = m.compute(m.update(one_hot([0, 0, 1, 1, 2]), torch.tensor([[[0, 0, 0, 1, VOID]]])))
    assert found["miou"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert found["miou_present"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["pixel_accuracy"] == pytest.approx(3 / 4)


def test_a_class_that_is_only_predicted_counts_as_zero_and_is_not_present():
    m = judge("semseg")
    found = m.compute(m.update(one_hot([0, 2]), torch.tensor([[[0, 0]]])))
    assert found["miou"] == pytest.approx(0.5 / 3)
    assert found["miou_present"] == pytest.approx(0.5)


def test_images_without_a_person_are_skipped():
    m = judge("human_parts")
    prediction = one_hot([0, 1], 7).repeat(2, 1, 1, 1)
    target = torch.tensor([[[0, 1]], [[0, 0]]])
    statistics = m.update(prediction, target)
    assert statistics["fp"][1].sum() == 0
    assert m.compute(statistics)["miou"] == pytest.approx(2 / 7)
    nobody = torch.tensor([[[0, VOID]], [[VOID, VOID]]])
    assert math.isnan(m.compute(m.update(prediction, nobody))["miou"])


def test_depth_by_hand_capped_and_uncapped():
    m = judge("depth")
    prediction = torch.tensor([1.0, 4.0, 100.0]).reshape(1, 1, 1, 3)
    target = torch.tensor([2.0, 7.0, VOID]).reshape(1, 1, 1, 3)
    found = m.compute(m.update(prediction, target))
    assert found["rmse"] == pytest.approx(math.sqrt((1 + 9) / 2))
    assert found["rmse_capped"] == pytest.approx(1.0)
    assert found["log_rmse"] == pytest.approx(math.sqrt((math.log(2) ** 2 + math.log(7 / 4) ** 2) / 2))
    assert found["log_rmse_capped"] == pytest.approx(math.log(2))


def test_depth_that_is_not_positive_is_clamped():
    m = judge("depth")
    found = m.compute(m.update(torch.full((1, 1, 1, 1), -3.0), torch.ones(1, 1, 1, 1)))
    assert found["rmse"] == pytest.approx(1.0)
    assert found["log_rmse"] == pytest.approx(-math.log(1e-9))


def test_angles_by_hand():
    m = judge("normals")
    angles = torch.tensor([0.0, 10.0, 20.0, 60.0])
    prediction = torch.stack([5 * torch.sin(angles.deg2rad()), torch.zeros(4), 5 * torch.cos(angles.deg2rad())])
    target = torch.tensor([0.0, 0.0, 1.0])[:, None].repeat(1, 4)
    found = m.compute(m.update(prediction.reshape(1, 3, 1, 4), target.reshape(1, 3, 1, 4)))
    assert found["mean"] == pytest.approx(22.5, abs=1e-4)
    assert found["median"] == pytest.approx(15.0, abs=0.01)
    assert found["rmse"] == pytest.approx(math.sqrt(4100 / 4), abs=1e-4)
    assert (found["within_11_25"], found["within_22_5"], found["within_30"]) == (50, 75, 75)


def test_small_angles_are_exact_and_opposite_or_zero_vectors_have_an_angle():
    m = judge("normals")
    tiny = math.radians(0.002)
    prediction = torch.tensor([[math.sin(tiny), 0, math.cos(tiny)], [0, 0, -1], [0, 0, 0]]).T.reshape(1, 3, 1, 3)
    target = torch.tensor([0.0, 0.0, 1.0])[:, None].repeat(1, 3).reshape(1, 3, 1, 3)
    for pixel, expected in enumerate((0.002, 180.0, 90.0)):
        found = m.compute(m.update(prediction[..., pixel : pixel + 1], target[..., pixel : pixel + 1]))
        assert found["mean"] == pytest.approx(expected, rel=1e-4)
        assert found["median"] == pytest.approx(expected, abs=0.0051)


def test_median_of_more_than_256_equal_angles_and_of_the_merged_images():
    m = judge("normals")
    target = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    x = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    many = m.update(x.expand(1, 3, 30, 30), target.expand(1, 3, 30, 30))
    few = m.update(target.expand(1, 3, 3, 3), target.expand(1, 3, 3, 3))
    assert (many["bins_256"].shape, many["bins_256"].dtype) == ((1, 3), np.uint16)
    assert m.compute(merge([few, many]))["median"] == pytest.approx(90, abs=0.01)
    assert m.compute(merge([few, many]))["within_30"] == pytest.approx(100 * 9 / 909)
    assert m.compute(select(merge([few, many]), np.array([0])))["median"] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("pixels", [255, 256, 257, 512])
def test_every_count_of_a_bin_is_kept_beside_an_image_of_other_angles(pixels):
    m = judge("normals")
    angles = torch.stack([torch.full((pixels,), 45.005), torch.linspace(60.005, 120.005, pixels)]).deg2rad()
    prediction = torch.stack([angles.sin(), torch.zeros(2, pixels), angles.cos()], dim=1)[:, :, None]
    target = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1).expand(2, 3, 1, pixels)
    statistics = m.update(prediction, target)
    assert m.compute(select(statistics, np.array([0])))["median"] == pytest.approx(45, abs=0.011)
    assert m.compute(select(statistics, np.array([1])))["median"] == pytest.approx(90, abs=0.15)
    # Two thirds of the pixels have the equal angle.
    assert m.compute(select(statistics, np.array([0, 0, 1])))["median"] == pytest.approx(45, abs=0.011)


def test_a_broken_normal_is_180_degrees_off():
    m = judge("normals")
    target = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    assert m.compute(m.update(torch.full_like(target, math.nan), target))["mean"] == 180


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 400))
def test_median_is_within_half_a_bin_of_the_exact_one(seed, pixels):
    torch.manual_seed(seed)
    m = judge("normals")
    prediction, target = torch.randn(1, 3, 1, pixels), F.normalize(torch.randn(1, 3, 1, pixels), dim=1)
    cosine = F.cosine_similarity(prediction.double(), target.double(), dim=1)
    exact = np.median(np.rad2deg(np.arccos(cosine.clamp(-1, 1).numpy())))
    assert m.compute(m.update(prediction, target))["median"] == pytest.approx(exact, abs=0.006)


def test_saliency_by_hand():
    # Probabilities .9, .6, .1 of truths 1, 0, 1: the best IoU is 1/2 at thresholds from .6 to .9, below it 1/3.
    m = judge("sal")
    prediction = torch.logit(torch.tensor([0.899, 0.6, 0.1])).reshape(1, 1, 1, 3)
    target = torch.tensor([1.0, 0.0, 1.0]).reshape(1, 1, 1, 3)
    found = m.compute(m.update(prediction, target))
    assert found["max_miou"] == pytest.approx(0.5)
    assert found["max_f"] == pytest.approx(2 * 1 * 0.5 / 1.5)


def test_saliency_averages_over_images_before_it_chooses_the_threshold():
    m = judge("sal")
    prediction = torch.logit(torch.tensor([[0.3, 0.01], [0.8, 0.5]])).reshape(2, 1, 1, 2)
    target = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).reshape(2, 1, 1, 2)
    found = m.compute(m.update(prediction, target))
    # Each image has a perfect threshold of its own; together .2 gives (1 + 1/2) / 2 and .5 gives (0 + 1) / 2.
    assert found["max_miou"] == pytest.approx(0.75)


def test_saliency_averages_precision_and_recall_over_images():
    # P = 1 and R = 1 of one image, P = 1/3 and R = 1/2 of the other: F of the means 2/3 and 3/4.
    m = judge("sal")
    prediction = torch.tensor([[9.0, 9, -9, -9], [9, 9, 9, -9]]).reshape(2, 1, 1, 4)
    target = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 1]]).reshape(2, 1, 1, 4)
    assert m.compute(m.update(prediction, target))["max_f"] == pytest.approx(2 * (2 / 3) * (3 / 4) / (2 / 3 + 3 / 4))


@pytest.mark.parametrize(("low", "high", "apart"), [(0.19, 0.21, True), (0.88, 0.91, True), (0.91, 0.99, False)])
def test_saliency_has_thresholds_from_0_2_to_0_9(low, high, apart):
    m = judge("sal")
    prediction, target = torch.logit(torch.tensor([low, high])).reshape(1, 1, 1, 2), torch.tensor([[[[0.0, 1]]]])
    assert m.compute(m.update(prediction, target))["max_miou"] == (1 if apart else 0.5)


def test_saliency_of_empty_truth_and_empty_prediction_is_right():
    m = judge("sal")
    found = m.compute(m.update(torch.full((1, 1, 2, 2), -9.0), torch.zeros(1, 1, 2, 2)))
    assert found == {"max_miou": 1.0, "max_f": 0.0}


def test_regression_errors_by_hand_on_values_of_either_sign():
    m = judge("regression")
    prediction, target = (torch.tensor(values).reshape(1, 1, 2, 2) for values in ([1.0, -2, 9, 0], [2.0, -5, VOID, 0]))
    statistics = m.update(prediction, target)
    assert statistics["pixels"].tolist() == [3] and statistics["squared"].tolist() == [1 + 9]
    assert m.compute(statistics) == pytest.approx({"rmse": math.sqrt(10 / 3), "abs_error": 4 / 3})


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_under_a_name_of_its_own_is_judged_like_its_kind(kind):
    prediction, target = example(kind, 3)
    own = meter(make_task("mine", kind=kind, classes=3 if kind == "semseg" else None), CONFIG)
    field = judge(kind)
    assert own.task.name == "mine" and own.task.metric == field.task.metric
    assert own.compute(own.update(prediction, target)) == field.compute(field.update(prediction, target))


# --- properties of every meter -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_batches_and_order_do_not_matter(name):
    m = judge(name)
    prediction, target = example(name, 5)
    whole = m.update(prediction, target)
    parts = merge([m.update(prediction[i : i + 1], target[i : i + 1]) for i in range(5)])
    assert whole.keys() == parts.keys()
    # Not to the bit: the vector unit's arc tangent differs in the last bit from that of the left-over elements.
    assert m.compute(whole) == pytest.approx(m.compute(parts), rel=1e-7)
    order = np.array([3, 1, 4, 0, 2])
    assert m.compute(select(whole, order)) == pytest.approx(m.compute(whole), rel=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_an_update_leaves_prediction_and_target_as_they_are(name):
    prediction, target = example(name, 2)
    if name in ("semseg", "human_parts"):
        target = target.int()
    prediction[1, :, 7] = float("nan")
    before = prediction.clone(), target.clone()
    judge(name).update(prediction, target)
    assert torch.equal(prediction.nan_to_num(-7), before[0].nan_to_num(-7))
    assert torch.equal(target, before[1])


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("name", ["semseg", "human_parts", "depth", "normals", "regression"])
def test_strips_do_not_matter(name, broken, monkeypatch):
    m = judge(name)
    prediction, target = example(name, 3)
    if broken:
        prediction[1, :, 7] = float("nan")
    whole = m.update(prediction, target)
    assert whole["non_finite"].tolist() == [0, 12 if broken else 0, 0]
    monkeypatch.setattr("mtcp.metrics.meter._STRIP", 80)
    strips = m.update(prediction, target)
    assert {name: values.dtype for name, values in strips.items()} == {n: values.dtype for n, values in whole.items()}
    assert m.compute(strips) == pytest.approx(m.compute(whole), rel=1e-7, nan_ok=True)
    assert strips["non_finite"].tolist() == whole["non_finite"].tolist()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("name", KINDS)
def test_a_gpu_gives_the_same_metrics(name):
    m = judge(name)
    prediction, target = example(name, 3, size=(40, 50))
    prediction[1, :, 7] = float("nan")
    expected, found = m.update(prediction, target), m.update(prediction.cuda(), target.cuda())
    assert found["non_finite"].tolist() == expected["non_finite"].tolist()
    assert m.compute(found) == pytest.approx(m.compute(expected), rel=1e-5, nan_ok=True)


@pytest.mark.parametrize("name", KINDS)
def test_void_pixels_do_not_matter(name):
    m = judge(name)
    prediction, target = example(name, 2)
    other = prediction.clone()
    other[..., :2] = -other[..., :2] * 3
    expected, found = m.compute(m.update(prediction, target)), m.compute(m.update(other, target))
    if name != "edge":  # ridges beside the void are found in a map that the void changes: it is set to 0 first
        assert found == expected
    else:
        assert found == pytest.approx(expected)


@pytest.mark.parametrize("name", KINDS)
def test_an_all_void_image_changes_nothing_and_alone_gives_no_number(name):
    m = judge(name)
    prediction, target = example(name, 2)
    void = torch.full_like(target, VOID)
    with_void = merge([m.update(prediction, target), m.update(prediction, void)])
    assert m.compute(with_void) == m.compute(m.update(prediction, target))
    assert all(math.isnan(value) for value in m.compute(m.update(prediction, void)).values())


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", KINDS)
def test_broken_predictions_are_counted_and_never_help(name, broken):
    m = judge(name)
    _, target = example(name, 2)
    perfect = {
        "semseg": lambda: F.one_hot(target.clamp(max=2), 3).movedim(-1, 1).float(),
        "human_parts": lambda: F.one_hot(target.clamp(max=6), 7).movedim(-1, 1).float(),
        "sal": lambda: (target == 1).float() * 20 - 10,
        "edge": lambda: (target == 1).float() * 20 - 10,
    }.get(name, lambda: target.clone())()
    good = m.compute(m.update(perfect, target))
    perfect[0, :, 3:5] = broken
    statistics = m.update(perfect, target)
    assert statistics["non_finite"].tolist() == [24, 0]
    found = m.compute(statistics)
    primary = m.task.metric
    if name in ("depth", "regression"):
        assert not math.isfinite(found[primary])
    elif m.task.higher_is_better:
        assert found[primary] < good[primary]
    else:
        assert found[primary] > good[primary]


def test_broken_depth_in_void_is_counted_but_does_not_spoil_the_number():
    m = judge("depth")
    prediction, target = example("depth", 1)
    expected = m.compute(m.update(prediction, target))
    prediction[..., 0] = float("nan")
    statistics = m.update(prediction, target)
    assert statistics["non_finite"].tolist() == [10]
    assert m.compute(statistics) == expected


@pytest.mark.parametrize("name", KINDS)
def test_shapes_that_differ_are_refused(name):
    m = judge(name)
    prediction, target = example(name, 2)
    shown = re.escape(str(tuple(prediction.shape)))
    with pytest.raises(UserError, match=rf"task '{name}': prediction {shown} .* do not belong together"):
        m.update(prediction, target[..., :-1])
    with pytest.raises(UserError, match=f"task '{name}'"):
        m.update(prediction[:, :0], target)


@pytest.mark.parametrize("label", [3, 254, 256, -1])
def test_a_label_outside_the_classes_is_named_with_its_image(label):
    m = judge("semseg")
    prediction, target = example("semseg", 3)
    target[1, 4, 5] = label
    with pytest.raises(ImageError, match=f"task 'semseg': label {label} in the truth, where 0 to 2 and 255") as caught:
        m.update(prediction, target)
    assert caught.value.index == 1


@pytest.mark.parametrize("name", ["sal", "edge"])
def test_a_binary_truth_that_is_not_binary_is_named_with_its_image(name):
    m = judge(name)
    prediction, target = example(name, 2)
    target[1, 0, 5, 5] = 0.5
    with pytest.raises(ImageError, match=r"0\.5 in the truth") as caught:
        m.update(prediction, target)
    assert caught.value.index == 1


def test_merging_fills_what_is_narrower_and_keeps_what_was_merged():
    parts = [{"a": np.full((n, n), n, dtype=np.uint16), "b": np.full(n, n / 2)} for n in (1, 3, 2, 1)]
    found = merge(parts)
    none = 65535
    assert found["a"].tolist() == [[1, none, none], *[[3, 3, 3]] * 3, *[[2, 2, none]] * 2, [1, none, none]]
    assert found["b"].tolist() == [0.5, 1.5, 1.5, 1.5, 1, 1, 0.5]
    assert (found["a"].dtype, found["b"].dtype) == (np.uint16, np.float64)
    # The last image fits in the array that three made, but for its width.
    assert merge([{"a": np.full((1, n), n, dtype=np.uint16)} for n in (1, 1, 1, 2)])["a"][2:].tolist() == [
        [1, none],
        [2, 2],
    ]


def test_no_image_at_all_is_refused():
    with pytest.raises(UserError, match="no image to evaluate"):
        merge([])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(3, 5), (100, 90)])
def test_most_likely_is_argmax_also_of_equal_logits(size, dtype):
    torch.manual_seed(0)
    logits = torch.randn(2, 40, *size).to(dtype).float()
    found, finite = most_likely(logits)
    assert finite
    assert torch.equal(found.long(), logits.argmax(dim=1))
    assert torch.all(most_likely(torch.zeros(1, 4, *size))[0] == 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_most_likely_sees_one_logit_that_is_not_finite(value):
    logits = torch.randn(2, 40, 100, 90)
    logits[1, 7, 99, 89] = value
    assert not most_likely(logits)[1]


def test_statistics_without_edges_take_less_than_thirty_kilobytes_an_image():
    total = 0
    for name in ("semseg", "depth", "normals"):
        m = judge(name, classes=40)
        prediction, target = example(name, 1, size=(480, 640))
        if name == "semseg":
            prediction = torch.randn(1, 40, 480, 640)
        if name == "normals":  # the worst case: all angles equal
            prediction = torch.zeros_like(prediction)
        total += sum(values.nbytes for values in m.update(prediction, target).values())
    assert total < 30_000
