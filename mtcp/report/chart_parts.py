"""Common parts of a report's charts: inline data, the page's colours, the reader's choice of methods, the style."""

from math import isfinite
from typing import Any, Final, Literal

import altair as alt
import numpy as np
import pandas as pd

ACCENT, SECOND, QUIET, INK = "var(--accent)", "var(--second)", "var(--quiet)", "var(--ink)"
TASK_COLOURS: Final = tuple(f"var(--task-{number})" for number in range(1, 9))
ROW: Final = 24
#: Filter for the rows of the two methods that the reader highlights.
BROUGHT_OUT: Final = "datum.method == first || datum.method == second"
#: The page's font by name, since labels are measured before they are drawn.
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"


def epochs(rows: pd.DataFrame) -> alt.X:
    """The epoch axis, at most ten ticks at whole epochs."""
    last = int(rows.epoch.max())
    return alt.X("epoch:Q", title="epoch", axis=alt.Axis(values=list(range(0, last + 1, 1 + last // 10)), format="d"))


def labelled(rows: pd.DataFrame, methods: pd.DataFrame) -> pd.DataFrame:
    """Add the methods' labels and drop trivial baselines."""
    known = methods[methods.family != "trivial"][["method", "label"]]
    return rows.merge(known, on="method", how="inner")


def inline(rows: pd.DataFrame, *columns: str) -> alt.Data:
    """The named columns as inline data with five significant digits: enough for charts, and pages stay small.

    What is not finite (a loss that overflowed) is left out: JSON has no such number, and a chart draws a gap.
    """
    return alt.Data(
        values=[
            {name: _short(value) if isinstance(value, float) else value for name, value in row.items()}
            for row in rows[list(columns)].astype(object).where(rows[list(columns)].notna(), None).to_dict("records")
        ]
    )


def _short(value: float) -> float | None:
    return float(f"{value:.5g}") if isfinite(value) else None


def number(column: str, title: str) -> alt.Tooltip:
    return alt.Tooltip(f"{column}:Q", title=title, format=".4~g")


def fitting(values: pd.Series) -> alt.Scale:
    """A scale around `values`, without zero; around one value alone it has room of a twentieth on both sides.

    Without room, the only tick would be labelled with a whole number, 1 beside an RMSE of 0.5004.
    """
    finite = values[np.isfinite(values)]
    low, high = finite.min(), finite.max()
    if finite.empty or high - low > 1e-4 * abs(high):
        return alt.Scale(zero=False)
    room = abs(high) / 20 or 1
    return alt.Scale(domain=[float(low - room), float(high + room)])


def zero_rule(axis: Literal["x", "y"]) -> Any:
    """The line at zero of the given axis."""
    rule = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(color=INK, opacity=0.6)
    return rule.encode(**{axis: "zero:Q"})


def baseline_rule(axis: Literal["x", "y"], baseline: str, label: str) -> Any:
    """The baseline in a chart of differences from it: the line at zero, in its colour where it is highlighted."""
    rule = alt.Chart(alt.Data(values=[{"zero": 0, "method": baseline, "label": label}])).mark_rule(strokeWidth=2.4)
    return rule.transform_filter(BROUGHT_OUT).encode(color=chosen(), tooltip="label:N", **{axis: "zero:Q"})


def chosen() -> Any:
    """Colour by the reader's choice of two methods."""
    first = alt.when("datum.method == first").then(alt.value(ACCENT))
    return first.when("datum.method == second").then(alt.value(SECOND)).otherwise(alt.value(QUIET))


def finish(chart: Any, height: int, choice: bool = True) -> dict[str, Any]:
    """Return the specification: full width, transparent, with the page's colours and font."""
    if choice:
        chart = chart.add_params(alt.param(name="first", value=""), alt.param(name="second", value=""))
    chart = chart.properties(width="container", height=height, background="transparent").configure(
        font=_FONT,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor="var(--muted)", titleColor="var(--muted)", gridColor="var(--line)", domainColor="var(--line)",
            tickColor="var(--line)", labelFontSize=12, titleFontSize=12, titleFontWeight="normal",
            labelOverlap=True, labelSeparation=8, tickCount=6,
        ),
    )  # fmt: skip
    specification = chart.to_dict(validate=False)  # validation takes a second per page; the tests draw the charts
    specification.pop("$schema", None)
    return specification
