"""Charts of how the tasks' gradients lie to each other."""

import pandas as pd
import pytest

from mtcp.report.figures import gradient_charts

METHODS = pd.DataFrame({"method": ["one", "prior"], "label": ["One", "Prior"], "family": ["scheme", "trivial"]})


def curves(**columns):
    rows = [
        {"method": method, "column": column, "epoch": epoch, "mean": value, "least": value, "greatest": value}
        for method in ("one", "prior")
        for column, values in columns.items()
        for epoch, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["method", "column", "epoch", "mean", "least", "greatest"])


def values(chart):
    return [(row["method"], row["epoch"], row["mean"]) for row in chart["spec"]["data"]["values"]]


def test_one_chart_a_measure_with_cosines_averaged_over_pairs():
    charts = gradient_charts(
        curves(cosine_a_b=[0.5, -0.5], cosine_a_c=[0.1, 0.5], magnitude_similarity=[0.9, 0.8], loss_a=[1.0, 0.5]),
        METHODS,
    )
    assert [chart["title"] for chart in charts] == ["Cosine, mean over pairs", "Magnitude similarity"]
    assert values(charts[0]) == [("one", 0, pytest.approx(0.3)), ("one", 1, pytest.approx(0.0))]


@pytest.mark.parametrize(("share", "shown"), [([1.0, 1.0], False), ([1.0, 0.4], True)])
def test_the_schemes_share_is_shown_where_losses_pass_it_by(share, shown):
    assert bool(gradient_charts(curves(scheme_share=share), METHODS)) == shown


def test_few_lines_have_their_names_beside_them_and_many_have_none():
    rows = pd.concat([curves(magnitude_similarity=[0.9, 0.8]).assign(method=f"m{place}") for place in range(4)])
    methods = pd.DataFrame({"method": [f"m{place}" for place in range(4)], "family": "scheme"})
    methods["label"] = methods.method.str.upper()

    def names(shown):
        (chart,) = gradient_charts(rows[rows.method.isin(methods.method[:shown])], methods)
        return [layer for layer in chart["spec"]["layer"] if layer["mark"]["type"] == "text"]

    assert names(4) == []
    for few in (1, 3):
        (name,) = names(few)
        assert name["encoding"]["text"]["field"] == "label"


def test_nothing_measured_is_no_chart():
    assert gradient_charts(curves(loss_a=[1.0], condition_number=[float("nan")]), METHODS) == []
