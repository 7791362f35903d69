"""The sweep of fixed weights: its front, by hand and by its definition, and which methods it takes in."""

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from mtcp.analysis.fixed_weights import sweep, undominated
from mtcp.core.project import Project
from mtcp.report.figures import sweep_charts

BENCHMARK = Project(Path(__file__).parents[3]).benchmark("nyud_lite")
TASKS = BENCHMARK.task_list[:2]  # semseg, depth
#: Method -> (scheme, mIoU, RMSE): `b` is dominated by `a`; `moving` beats all and belongs to no front.
VALUES = {
    "a": ("equal", 0.40, 0.60),
    "b": ("fixed", 0.40, 0.61),
    "c": ("fixed", 0.30, 0.50),
    "moving": ("mgda", 0.50, 0.40),
}


def tables(values=VALUES, architecture="segnet_mtan"):
    head = {"selection": "last", "output": "final"}
    summary = [
        {"method": method, "task": task, "metric": metric, "mean": value, **head}
        for method, (_, *both) in values.items()
        for (task, metric), value in zip((("semseg", "miou"), ("depth", "rmse")), both, strict=True)
    ]
    methods = [
        {"method": name, "label": name.upper(), "family": "scheme", "scheme": scheme, "architecture": architecture}
        for name, (scheme, *_) in values.items()
    ]
    return pd.DataFrame(summary), pd.DataFrame(methods)


def test_the_front_is_of_fixed_weights_alone():
    rows = sweep(*tables(), TASKS).set_index("method")
    assert rows.front.to_dict() == {"a": True, "b": False, "c": True, "moving": False}
    assert rows.fixed.to_dict() == {"a": True, "b": True, "c": True, "moving": False}
    assert rows.loc["c", ["first", "second", "x", "y"]].tolist() == ["semseg", "depth", 0.30, 0.50]


def test_two_fixed_weights_are_no_sweep():
    assert sweep(*tables({name: VALUES[name] for name in ("a", "b", "moving")}), TASKS).empty
    summary, methods = tables()
    assert sweep(summary, methods.assign(architecture=list("uvwx")), TASKS).empty


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=12))
def test_a_row_is_on_the_front_unless_another_is_at_least_as_good_everywhere_and_better_somewhere(rows):
    found = undominated(np.array(rows))
    for row, kept in zip(rows, found, strict=True):
        beaten = any(other != row and all(a >= b for a, b in zip(other, row, strict=True)) for other in rows)
        assert kept == (not beaten)


def test_the_chart_shows_every_method_and_a_line_along_the_front():
    (chart,) = sweep_charts(sweep(*tables(), TASKS), BENCHMARK)
    assert chart["title"] == "Segmentation and Depth"
    line, points = (list(layer["data"]["values"]) for layer in chart["spec"]["layer"])
    assert [point["x"] for point in line] == [30, 40]
    assert {point["label"] for point in points} == {"A", "B", "C", "MOVING"}
