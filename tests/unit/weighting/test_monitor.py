import math
from math import nan

import pytest
import torch

from mtcp.weighting.monitor import Monitor

TASKS = ("a", "b")


def test_means_are_over_the_steps_in_which_a_task_was_present():
    monitor = Monitor(TASKS)
    monitor.observe({"a": 1.0, "b": 3.0})
    monitor.observe({"a": 2.0})
    monitor.end_epoch()
    assert monitor.record() == pytest.approx({"weight_a": 1.5, "weight_b": 3.0, "scheme_share": nan}, nan_ok=True)


def test_a_task_absent_from_an_epoch_has_no_weight_in_it():
    monitor = Monitor(TASKS)
    monitor.observe({"a": 1.0})
    monitor.end_epoch()
    assert math.isnan(monitor.record()["weight_b"])


def test_conflict_counts_pairs_below_0():
    monitor = Monitor(("a", "b", "c"), pairs=True)
    monitor.observe_gradients(["a", "b", "c"], torch.tensor([[1, -0.5, 0.5], [-0.5, 1, 0], [0.5, 0, 1]]).double())
    monitor.observe_gradients(["a", "b"], torch.tensor([[1, -0.1], [-0.1, 1]]).double())
    monitor.end_epoch()
    record = monitor.record()
    assert record["cosine_a_b"] == pytest.approx(-0.3)
    assert record["conflict_share"] == 0.5
    assert monitor.conflict


def test_orthogonal_gradients_are_in_no_conflict_and_one_alone_compares_with_none():
    monitor = Monitor(TASKS, pairs=True)
    monitor.observe_gradients(["a", "b"], torch.eye(2).double())
    assert not monitor.conflict
    monitor.end_epoch()
    assert monitor.record()["conflict_share"] == 0
    monitor.observe_gradients(["a"], torch.eye(1).double())
    monitor.end_epoch()
    assert all(math.isnan(value) for value in monitor.record().values())


def test_a_step_without_gradients_leaves_the_epochs_condition_number():
    monitor = Monitor(TASKS, pairs=True)
    for scale in (1.0, 0.0, 1.0):
        monitor.observe_gradients(["a", "b"], scale * torch.tensor([[4.0, 0.0], [0.0, 1.0]]).double())
    monitor.end_epoch()
    assert monitor.record()["condition_number"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("weights", "moved", "negative", "runaway"),
    [
        ([(1, 1), (1, 1)], False, False, False),
        ([(1, 1), (1, 1.01)], True, False, False),
        ([(2, 2), (3, 3)], False, False, False),
        ([(1, 1), (-0.1, 1)], True, True, False),
        ([(1, 1), (1, 1001)], True, False, True),
        ([(5000, 4000), (5000, 6000)], True, False, False),
        ([(1, 1000), (1, 1001)], True, False, False),
        ([(0.001, 0.001001)], True, False, False),
        ([(1e7, 1e7 + 1)], False, False, False),
    ],
)
def test_signs(weights, moved, negative, runaway):
    monitor = Monitor(TASKS)
    for pair in weights:
        monitor.observe(dict(zip(TASKS, map(float, pair), strict=True)))
    assert (monitor.moved, monitor.negative, monitor.runaway) == (moved, negative, runaway)


def test_state_continues_in_the_middle_of_an_epoch():
    one, other = Monitor(TASKS), Monitor(TASKS)
    one.observe({"a": 1.0, "b": -2.0})
    other.load(one.state())
    for monitor in (one, other):
        monitor.observe({"a": 4.0, "b": 5.0})
        monitor.end_epoch()
    assert one == other


def test_stayed_equal_needs_a_reason_to_move(bench):
    dwa = bench("dwa").scheme
    for epoch in range(3):
        assert "stayed_equal" not in dwa.flags(), epoch
        dwa.monitor.observe({"semseg": 1.0, "depth": 1.0, "normals": 1.0})
        dwa.close_epoch()
    assert dwa.flags() == ["stayed_equal"]
    surgery = bench("pcgrad").scheme
    surgery.monitor.observe({"semseg": 1.0, "depth": 1.0})
    surgery.monitor.observe_gradients(["semseg", "depth"], torch.tensor([[1, 0.4], [0.4, 1]]).double())
    surgery.close_epoch()
    assert surgery.flags() == []
    surgery.monitor.observe_gradients(["semseg", "depth"], torch.tensor([[1, -0.4], [-0.4, 1]]).double())
    assert surgery.flags() == ["stayed_equal"]


@pytest.mark.parametrize(("name", "flag"), [("mgda", "negative_weights"), ("imtl_g", "negative_by_design")])
def test_negative_weights_are_trouble_unless_the_scheme_is_signed(name, flag, bench):
    scheme = bench(name).scheme
    scheme.monitor.observe({"semseg": -0.1, "depth": 1.0})
    assert scheme.flags() == [flag]


def test_a_signed_scheme_with_positive_weights_raises_no_flag(bench):
    scheme = bench("imtl_g").scheme
    scheme.monitor.observe({"semseg": 0.1, "depth": 1.0})
    assert scheme.flags() == []


@pytest.mark.parametrize("name", ["equal", "fixed", "lps_as_released"])
def test_schemes_that_are_not_to_move_raise_no_flag(name, bench):
    run = bench(name)
    for step in range(4):
        run.step(step)
        run.scheme.close_epoch()
    assert run.scheme.flags() == []


@pytest.mark.parametrize(
    ("name", "given", "idle"),
    [
        ("stch", {}, 5),
        ("igb_v2", {}, 5),
        ("igb_v2", {"base_epoch": 6}, 7),
        ("dwa", {}, 2),
        ("lps", {}, 1),
        ("rlw", {}, 0),
    ],
)
def test_a_run_that_ends_in_the_warm_up_of_its_scheme_says_so(name, given, idle, bench):
    scheme = bench(name, **given).scheme
    for epoch in range(1, idle + 2):
        scheme.monitor.observe({"semseg": 1.0, "depth": 2.0, "normals": 1.0})
        scheme.close_epoch()
        assert ("never_acted" in scheme.flags()) == (epoch <= idle), epoch
