"""Losses by hand, absent tasks, the released code's readings, and refusals."""

import math

import pytest
import torch

from mtcp.core import tasks
from mtcp.core.errors import UserError
from mtcp.core.run_config import LossConfig
from mtcp.core.tasks import VOID, make_task
from mtcp.training import losses
from mtcp.training.losses import batch_losses, task_loss, weighed_losses

SEMSEG, DEPTH, NORMALS = make_task("semseg", classes=2), make_task("depth"), make_task("normals")
PLAIN = LossConfig()


def plane(*values: float) -> torch.Tensor:
    """One image of one channel and one row."""
    return torch.tensor(values).reshape(1, 1, 1, -1)


def test_the_configuration_knows_every_loss():
    assert list(tasks.KINDS_OF_LOSS) == list(losses.LOSSES)
    assert {task for names in tasks.KINDS_OF_LOSS.values() for task in names} == set(tasks.KINDS)


@pytest.mark.parametrize("kind", tasks.KINDS)
@pytest.mark.parametrize("auxiliary", ["own", "as_released"])
def test_a_task_under_a_name_of_its_own_has_the_losses_of_its_kind(kind, auxiliary):
    draws = torch.Generator().manual_seed(0)
    classes = 2 if kind == "semseg" else None
    field, own = make_task(kind, classes=classes), make_task("mine", kind=kind, classes=classes)
    outputs = {name: torch.randn(2, field.channels, 4, 5, generator=draws) for name in ("final", "aux1", "aux2")}
    shape = (2, 4, 5) if field.classifies else (2, field.channels, 4, 5)
    target = torch.randint(0, 2, shape, generator=draws).float()
    config = LossConfig(auxiliary=auxiliary)
    found = [batch_losses({task.name: outputs}, {task.name: target}, [task], config) for task in (field, own)]
    assert [losses[kind] for losses in found[0]] == [losses["mine"] for losses in found[1]]


def test_cross_entropy_ignores_void():
    logits = torch.tensor([[0.0, 3.0, 9.0], [0.0, 1.0, 0.0]]).reshape(1, 2, 1, 3)
    target = torch.tensor([[[0, 1, VOID]]])
    expected = (math.log(2) + math.log(1 + math.exp(2))) / 2
    assert task_loss(SEMSEG, logits, target, PLAIN).item() == pytest.approx(expected, rel=1e-6)


def test_depth_is_absolute_error_over_valid_pixels():
    prediction, target = plane(1, 2, 9, 7), plane(2, 4, VOID, 8)
    assert task_loss(DEPTH, prediction, target, PLAIN).item() == pytest.approx((1 + 2 + 1) / 3)


def test_depth_cap_leaves_far_pixels_out():
    prediction, target = plane(1, 2, 9, 7), plane(2, 6.5535, VOID, 8)
    assert task_loss(DEPTH, prediction, target, LossConfig(depth_cap=6.5535)).item() == pytest.approx(1.0)


def test_regression_is_absolute_or_squared_error_over_valid_pixels_of_either_sign():
    prediction, target = plane(1, -2, 9), plane(2, -5, VOID)
    assert task_loss(make_task("regression"), prediction, target, PLAIN).item() == pytest.approx((1 + 3) / 2)
    squared = make_task("regression", loss="regression_mse")
    assert task_loss(squared, prediction, target, PLAIN).item() == pytest.approx((1 + 9) / 2)


def test_normals_mse_is_on_the_output_as_it_is_per_component():
    prediction = torch.tensor([0.0, 0.0, 3.0]).reshape(1, 3, 1, 1)
    target = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    assert task_loss(NORMALS, prediction, target, PLAIN).item() == pytest.approx(4 / 3)
    unit = make_task("normals", loss="normals_l1")
    assert task_loss(unit, prediction, target, PLAIN).item() == pytest.approx(0.0)


def test_negative_log_likelihood_is_cross_entropy_of_what_log_softmax_made():
    logits, target = torch.randn(2, 5, 3, 4), torch.randint(0, 5, (2, 3, 4))
    target[0, 0] = VOID
    tasks = make_task("semseg", classes=5), make_task("semseg", classes=5, loss="nll")
    plain = task_loss(tasks[0], logits, target, PLAIN)
    assert task_loss(tasks[1], logits.log_softmax(1), target, PLAIN).item() == pytest.approx(plain.item(), rel=1e-6)


def test_cosine_loss_pools_valid_pixels_of_the_batch():
    # Angles 0, 90 and 180 degrees and a void pixel; a truth of length 1/2 counts with its length.
    prediction = torch.tensor([[1.0, 0, 0]] * 4).T.reshape(1, 3, 1, 4)
    target = torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [VOID] * 3]).T.reshape(1, 3, 1, 4)
    task = make_task("normals", loss="normals_cosine")
    assert task_loss(task, prediction, target, PLAIN).item() == pytest.approx(1 - (1 + 0 - 1) / 3)
    target[0, :, 0, 0] *= 0.5
    assert task_loss(task, prediction, target, PLAIN).item() == pytest.approx(1 - (0.5 + 0 - 1) / 3)


def test_a_normal_whose_components_sum_to_zero_is_valid():
    target = torch.tensor([1.0, -1.0, 0.0]).reshape(1, 3, 1, 1) / math.sqrt(2)
    loss = task_loss(make_task("normals", loss="normals_cosine"), target, target, PLAIN)
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_balanced_bce_weighs_by_the_other_class():
    # One positive of four: weight 3/4; three negatives at 1/4; logit 0 costs ln 2 everywhere.
    target = plane(1, 0, 0, 0)
    expected = math.log(2) * (0.75 + 3 * 0.25) / 4
    assert task_loss(make_task("sal"), torch.zeros_like(target), target, PLAIN).item() == pytest.approx(expected)


def test_fixed_positive_weight():
    target = plane(1, 0, VOID)
    task = make_task("edge", positive_weight=0.8)
    assert task_loss(task, torch.zeros_like(target), target, PLAIN).item() == pytest.approx(math.log(2) * 0.5)


@pytest.mark.parametrize("name", ["semseg", "depth", "normals", "sal", "edge", "human_parts"])
def test_a_batch_of_void_has_no_loss(name):
    task = make_task(name, classes=7)
    prediction = torch.randn(2, task.channels, 4, 5)
    target = torch.full((2, 4, 5) if task.loss == "cross_entropy" else prediction.shape, VOID)
    assert task_loss(task, prediction, target, PLAIN) is None


@pytest.mark.parametrize("name", ["depth", "normals", "sal"])
def test_void_gives_no_gradient_and_its_prediction_does_not_matter(name):
    task = make_task(name)
    prediction = torch.randn(1, task.channels, 2, 3, requires_grad=True)
    target = torch.ones_like(prediction).detach()
    target[..., 0] = VOID
    target[..., 1] = 0  # with one class only, balancing would weigh it with zero
    task_loss(task, prediction, target, PLAIN).backward()
    assert torch.all(prediction.grad[..., 0] == 0)
    assert torch.all(prediction.grad[..., 1:] != 0)
    other = prediction.detach().clone()
    other[..., 0] += 100
    if name != "normals":
        assert task_loss(task, other, target, PLAIN) == task_loss(task, prediction, target, PLAIN)


def test_absent_tasks_and_their_auxiliaries_are_left_out():
    outputs = {
        "semseg": {"final": torch.zeros(1, 2, 1, 2), "aux1": torch.zeros(1, 2, 1, 2)},
        "depth": {"final": plane(1, 1), "aux1": plane(2, 2), "aux2": plane(4, 4)},
    }
    targets = {"semseg": torch.full((1, 1, 2), VOID), "depth": plane(2, 2)}
    final, auxiliary = batch_losses(outputs, targets, [SEMSEG, DEPTH], PLAIN)
    assert set(final) == {"depth"}
    assert final["depth"].item() == 1.0
    assert {task: loss.item() for task, loss in auxiliary.items()} == {"depth": 0.5 * (0 + 2)}


def test_auxiliary_losses_are_part_of_their_tasks_loss_or_pass_the_scheme_by():
    final = {"semseg": torch.tensor(1.0), "depth": torch.tensor(2.0)}
    auxiliary = {"depth": torch.tensor(0.25), "semseg": torch.tensor(0.5)}
    losses, outside = weighed_losses(final, auxiliary, LossConfig())
    assert ({task: loss.item() for task, loss in losses.items()}, outside) == ({"semseg": 1.5, "depth": 2.25}, None)
    losses, outside = weighed_losses(final, auxiliary, LossConfig(auxiliary_weighting="unweighted"))
    assert losses == final
    assert outside.item() == 0.75
    assert weighed_losses(final, {}, LossConfig(auxiliary_weighting="unweighted"))[1] is None


def test_no_auxiliary_outputs_no_auxiliary_loss():
    final, auxiliary = batch_losses({"depth": {"final": plane(1)}}, {"depth": plane(2)}, [DEPTH], PLAIN)
    assert final["depth"].item() == 1.0
    assert auxiliary == {}


def test_released_reading_of_normals_auxiliaries_is_absolute_error():
    final = torch.zeros(1, 3, 1, 1)
    outputs = {"normals": {"final": final, "aux1": final + 0.5, "aux2": final}}
    targets = {"normals": torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)}
    _, own = batch_losses(outputs, targets, [NORMALS], PLAIN)
    _, released = batch_losses(outputs, targets, [NORMALS], LossConfig(auxiliary="as_released", depth_cap=6.5535))
    assert own["normals"].item() == pytest.approx(0.5 * (0.25 + 1 / 3))
    assert released["normals"].item() == pytest.approx(0.5 * (0.5 + 1 / 3))


def test_released_reading_of_human_parts_counts_the_last_auxiliary_only():
    task = make_task("human_parts")
    zero = torch.zeros(1, 7, 1, 1)
    sure = zero.clone()
    sure[0, 0] = 50
    outputs = {"human_parts": {"final": zero, "aux1": zero, "aux2": sure}}
    targets = {"human_parts": torch.zeros(1, 1, 1, dtype=torch.long)}
    assert batch_losses(outputs, targets, [task], PLAIN)[1]["human_parts"].item() == pytest.approx(
        0.5 * math.log(7), rel=1e-6
    )
    released = batch_losses(outputs, targets, [task], LossConfig(auxiliary="as_released"))[1]
    assert released["human_parts"].item() == pytest.approx(0.0, abs=1e-6)


def test_half_precision_predictions_are_judged_in_float32():
    prediction, target = torch.randn(2, 1, 8, 8).bfloat16(), torch.rand(2, 1, 8, 8) + 1
    loss = task_loss(DEPTH, prediction, target, PLAIN)
    assert loss.dtype == torch.float32
    assert loss == task_loss(DEPTH, prediction.float(), target, PLAIN)


def test_shapes_that_differ_are_refused():
    with pytest.raises(UserError, match=r"task 'depth': prediction \(1, 1, 2, 2\) and target \(1, 1, 2, 3\)"):
        task_loss(DEPTH, torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 3), PLAIN)
    with pytest.raises(UserError, match=r"expected \(B, 2, H, W\)"):
        task_loss(SEMSEG, torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2), PLAIN)


def test_unknown_loss_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="unknown loss 'l2': the losses are cross_entropy, nll, depth_l1"):
        task_loss(make_task("depth", loss="l2"), plane(1), plane(1), PLAIN)
