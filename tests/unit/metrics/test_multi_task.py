"""Delta_m by hand, in all its definitions."""

import math

import pytest

from mtcp.core.errors import UserError
from mtcp.core.tasks import make_task
from mtcp.metrics.multi_task import (
    delta_m,
    delta_m_per_metric,
    delta_m_pooled,
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


def test_every_definition_keeps_seeds_apart():
    values = {"semseg": {"miou": [1.1, 1.3]}, "normals": {"mean": [0.9, 1.0], "median": [1.0, 0.6]}}
    references = {"semseg": {"miou": [1.0, 1.0]}, "normals": {"mean": [1.0, 1.0], "median": [1.0, 1.0]}}
    assert delta_m_per_metric(values, references) == pytest.approx([(10 + 5) / 2, (30 + 20) / 2])
    assert delta_m_pooled(values, references) == pytest.approx([20 / 3, 70 / 3])


def test_a_negative_reference_keeps_the_direction():
    assert relative_change(-0.9, -1.0, True) == pytest.approx(10)


@pytest.mark.filterwarnings("error")
def test_a_reference_of_zero_or_a_missing_value_gives_no_number():
    assert math.isnan(relative_change(1.0, 0.0, True))
    assert math.isnan(delta_m({"depth": math.nan}, {"depth": 1.0}, [make_task("depth")]))


def test_a_missing_value_or_reference_is_named():
    with pytest.raises(UserError, match="needs a value of task 'depth'"):
        delta_m({}, {"depth": 1.0}, [make_task("depth")])
    with pytest.raises(UserError, match="single-task reference of task 'depth'"):
        delta_m({"depth": 1.0}, {}, [make_task("depth")])
