"""Delta_m by hand, in all its definitions."""

import math

import numpy as np
import pytest

from mtcp.core.errors import UserError
from mtcp.core.tasks import make_task
from mtcp.metrics.multi_task import (
    delta_m,
    delta_m_per_metric,
    delta_m_pooled,
    delta_m_with_reference_spread,
    relative_change,
)

TASKS = (make_task("semseg", classes=40), make_task("depth"), make_task("normals"))


def test_delta_m_by_hand():
    # +10 % mIoU, 5 % lower RMSE, 3 % larger angle: (10 + 5 - 3) / 3.
    found = delta_m(
        {"semseg": 0.44, "depth": 0.57, "normals": 20.6}, {"semseg": 0.40, "depth": 0.60, "normals": 20.0}, TASKS
    )
    assert float(found) == pytest.approx(4.0)


def test_delta_m_pairs_seeds():
    values = {"semseg": [0.44, 0.40], "depth": [0.6, 0.6], "normals": [20, 20]}
    references = {"semseg": [0.40, 0.44], "depth": [0.6, 0.6], "normals": [20, 20]}
    assert delta_m(values, references, TASKS) == pytest.approx([10 / 3, -100 / 11 / 3])


def test_definitions_differ_where_tasks_have_several_metrics():
    values = {"semseg": {"miou": 1.1}, "normals": {"mean": 0.9, "median": 0.9, "within_30": 0.8}}
    references = {"semseg": {"miou": 1.0}, "normals": {"mean": 1.0, "median": 1.0, "within_30": 1.0}}
    assert float(delta_m_per_metric(values, references)) == pytest.approx((10 + (10 + 10 - 20) / 3) / 2)
    assert float(delta_m_pooled(values, references)) == pytest.approx((10 + 10 + 10 - 20) / 4)


def test_a_reference_of_zero_or_a_missing_value_gives_no_number():
    assert math.isnan(relative_change(1.0, 0.0, True))
    assert math.isnan(delta_m({"depth": math.nan}, {"depth": 1.0}, [make_task("depth")]))


def test_a_missing_reference_is_named():
    with pytest.raises(UserError, match="single-task reference of task 'depth'"):
        delta_m({"depth": 1.0}, {}, [make_task("depth")])


def test_the_references_spread_is_propagated():
    rng = np.random.default_rng(0)
    task = make_task("semseg", classes=2)
    values, references = rng.normal(0.5, 0.01, (4000, 5)), rng.normal(0.4, 0.02, (4000, 5))
    expected = (100 * (values.mean(1) / references.mean(1) - 1)).std()
    errors = [
        delta_m_with_reference_spread({"semseg": v}, {"semseg": r}, [task])[1]
        for v, r in zip(values, references, strict=True)
    ]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(expected, rel=0.05)


def test_the_spread_of_a_mean_over_tasks_is_that_of_independent_ones():
    values, references = [0.50, 0.54], [0.40, 0.42]
    tasks = [make_task("semseg", classes=2), make_task("depth")]
    both = {task.name: values for task in tasks}, {task.name: references for task in tasks}
    (up, alone), (down, _), (mean, error) = (
        delta_m_with_reference_spread(*both, chosen) for chosen in (tasks[:1], tasks[1:], tasks)
    )
    # Relative standard errors 0.02 / 0.52 and 0.01 / 0.41 of a ratio 0.52 / 0.41.
    assert alone == pytest.approx(100 * 0.52 / 0.41 * math.hypot(0.02 / 0.52, 0.01 / 0.41))
    assert up == -down == pytest.approx(100 * (0.52 / 0.41 - 1))
    assert (mean, error) == (pytest.approx(0), pytest.approx(alone / math.sqrt(2)))


def test_the_spread_needs_two_seeds():
    with pytest.raises(UserError, match="two seeds of task 'depth'"):
        delta_m_with_reference_spread({"depth": [1.0]}, {"depth": [1.0, 2.0]}, [make_task("depth")])
