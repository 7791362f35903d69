"""Charts of a report as Vega-Lite specifications, made from the tables; colours are the page's CSS variables.

A reader chooses two methods to bring out: every chart reads the parameters `first` and `second`, which the page's
two lists set. Trivial baselines are left out of the charts (their distance would hide all others); tables show them.
"""

from typing import Any, Final

import altair as alt
import pandas as pd

from mtcp.core.tasks import Task
from mtcp.report.formats import display

_ACCENT, _SECOND, _QUIET, _INK = "var(--accent)", "var(--second)", "var(--quiet)", "var(--ink)"
_TASK_COLOURS: Final = tuple(f"var(--task-{number})" for number in range(1, 7))
_ROW: Final = 24
#: By name, as the page has it: labels are measured before they are drawn.
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"


def delta_m_chart(
    multi_task: pd.DataFrame, summary: pd.DataFrame, methods: pd.DataFrame, rope: float
) -> dict[str, Any]:
    """Forest plot of Delta_m: one point a seed, mean and 95 % t interval, ROPE band, zero line."""
    rows = summary[(summary.metric == "delta_m") & (summary.selection == "last") & (summary.output == "final")]
    rows = _labelled(rows, methods).sort_values("mean", ascending=False)
    points = multi_task[(multi_task.selection == "last") & (multi_task.output == "final")]
    points = _labelled(points[points.metric == "delta_m"], methods)
    order = rows.label.tolist()
    y = alt.Y("label:N", sort=order, title=None)
    x = "Δm against the baseline, % (right is better)"
    band = alt.Chart(alt.Data(values=[{"low": -rope, "high": rope}])).mark_rect(color=_ACCENT, opacity=0.09)
    band = band.encode(x=alt.X("low:Q", title=x), x2="high:Q")
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(color=_INK, opacity=0.6).encode(x="zero:Q")
    tooltip = ["label:N", "n:Q", _value("mean", "mean"), _value("low", "95 % from"), _value("high", "to")]
    base = alt.Chart(_plain(rows, "method", "label", "n", "mean", "low", "high"))
    interval = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", y=y, color=_chosen(), tooltip=tooltip)
    mean = base.mark_point(filled=True, size=90, opacity=1).encode(x="mean:Q", y=y, color=_chosen(), tooltip=tooltip)
    seeds = alt.Chart(_plain(points, "method", "label", "seed", "value")).mark_tick(
        thickness=1.5, height=9, opacity=0.7
    )
    seeds = seeds.encode(x="value:Q", y=y, color=_chosen(), tooltip=["label:N", "seed:N", _value("value", "Δm")])
    return _finish(alt.layer(band, zero, interval, seeds, mean), height=_ROW * len(order))


def seed_charts(runs: pd.DataFrame, methods: pd.DataFrame, tasks: tuple[Task, ...]) -> list[dict[str, Any]]:
    """One strip chart per task: every seed a point, its primary metric on the last epoch's final output."""
    charts = []
    for task in tasks:
        own = runs[(runs.task == task.name) & (runs.metric == task.metric)]
        rows = _labelled(own[(own.selection == "last") & (own.output == "final")].dropna(subset=["value"]), methods)
        if rows.empty:
            continue
        shown = display(task.name, task.metric)
        rows = rows.assign(shown=rows.value * shown.scale)
        order = [label for label in methods.label if label in set(rows.label)]
        better = "right" if task.higher_is_better else "left"
        unit = f", {shown.unit}" if shown.unit else ""
        chart = (
            alt.Chart(_plain(rows, "method", "label", "seed", "shown"))
            .mark_point(size=46, filled=True, opacity=0.85)
            .encode(
                x=alt.X("shown:Q", scale=alt.Scale(zero=False), title=f"{shown.label}{unit} ({better} is better)"),
                y=alt.Y("label:N", sort=order, title=None),
                color=_chosen(),
                tooltip=["label:N", "seed:N", _value("shown", shown.label)],
            )
        )
        charts.append({"title": task.label, "spec": _finish(chart, height=_ROW * len(order))})
    return charts


def loss_charts(curves: pd.DataFrame, methods: pd.DataFrame, tasks: tuple[Task, ...]) -> list[dict[str, Any]]:
    """One chart per task: the loss by epoch, mean over seeds; validation where a part of training was held out."""
    charts = []
    for task in tasks:
        column = f"validation_loss_{task.name}"
        if column not in set(curves.column):
            column = f"loss_{task.name}"
        rows = _labelled(curves[curves.column == column], methods)
        if rows.empty:
            continue
        where = "validation" if column.startswith("validation") else "training"
        charts.append({"title": task.label, "spec": _by_epoch(rows, f"{where} loss", alt.Scale(zero=False))})
    return charts


#: What `mtcp.weighting.monitor` records of the tasks' gradients, by the start of its columns: title and scale.
_GRADIENTS: Final = {
    "cosine_": ("cosine, mean over pairs", alt.Scale(domain=[-1, 1])),
    "magnitude_similarity": ("magnitude similarity", alt.Scale(domain=[0, 1])),
    "condition_number": ("condition number", alt.Scale(type="log")),
    "scheme_share": ("share of the update from the scheme", alt.Scale(domain=[0, 1])),
}


def gradient_charts(curves: pd.DataFrame, methods: pd.DataFrame) -> list[dict[str, Any]]:
    """How the tasks' gradients on the shared parameters lie, by epoch: one chart per measure, mean over seeds.

    The share of the scheme is left out where it is 1 everywhere: no loss passes a scheme by.
    """
    charts = []
    for start, (title, scale) in _GRADIENTS.items():
        rows = curves[curves.column.str.startswith(start)].dropna(subset=["mean"])
        rows = rows.groupby(["method", "epoch"], as_index=False)[["mean", "least", "greatest"]].mean()
        rows = _labelled(rows, methods)
        if rows.empty or (start == "scheme_share" and rows["mean"].min() == 1):
            continue
        charts.append({"title": title.capitalize(), "spec": _by_epoch(rows, title, scale)})
    return charts


def _by_epoch(rows: pd.DataFrame, title: str, scale: alt.Scale) -> dict[str, Any]:
    """Lines of all methods by epoch; the chosen ones in colour, with their range over seeds."""
    base = alt.Chart(_plain(rows, "method", "label", "epoch", "mean", "least", "greatest")).encode(
        x=_epochs(rows), detail="method:N"
    )
    y = alt.Y("mean:Q", title=title, scale=scale)
    quiet = base.mark_line(strokeWidth=1.2, opacity=0.75, color=_QUIET).encode(
        y=y, tooltip=["label:N", "epoch:Q", _value("mean", title)]
    )
    chosen = base.transform_filter("datum.method == first || datum.method == second")
    band = chosen.mark_area(opacity=0.14).encode(y="least:Q", y2="greatest:Q", color=_chosen())
    line = chosen.mark_line(strokeWidth=2.6).encode(y=y, color=_chosen())
    return _finish(alt.layer(quiet, band, line), height=190)


def weight_charts(curves: pd.DataFrame, methods: pd.DataFrame, tasks: tuple[Task, ...]) -> list[dict[str, Any]]:
    """One chart per method whose weights move: weight of each task by epoch, mean and range over seeds."""
    labels = {f"weight_{task.name}": task.label for task in tasks}
    rows = curves[curves.column.isin(labels)]
    charts = []
    for method in methods.itertuples():
        own = rows[rows.method == method.method]
        if own.empty or own["mean"].nunique() <= 1:
            continue
        own = own.assign(task=own.column.map(labels))
        base = alt.Chart(_plain(own, "task", "epoch", "mean", "least", "greatest")).encode(
            x=_epochs(own),
            color=alt.Color(
                "task:N",
                sort=list(labels.values()),
                scale=alt.Scale(domain=list(labels.values()), range=list(_TASK_COLOURS[: len(labels)])),
                legend=None,  # one for all of these charts stands above them on the page
            ),
        )
        band = base.mark_area(opacity=0.15).encode(y="least:Q", y2="greatest:Q")
        line = base.mark_line(strokeWidth=2).encode(
            y=alt.Y("mean:Q", title="weight", scale=alt.Scale(zero=True)),
            tooltip=["task:N", "epoch:Q", _value("mean", "weight")],
        )
        layers = [band, line]
        if (own.least < 0).any():  # below zero a task's loss is ascended
            below = alt.Chart(alt.Data(values=[{"low": float(f"{own.least.min():.5g}"), "high": 0}]))
            layers.insert(0, below.mark_rect(color="var(--bad)", opacity=0.1).encode(y="low:Q", y2="high:Q"))
        charts.append({"title": method.label, "spec": _finish(alt.layer(*layers), height=170, choice=False)})
    return charts


def claims_chart(claims: pd.DataFrame) -> dict[str, Any] | None:
    """Forest plot by claim, of those judged in per cent: improvement and Holm interval, each one's ROPE behind it."""
    rows = claims[(claims.n > 0) & (claims.unit == "%")]
    if rows.empty:
        return None
    rows = rows.assign(label=rows.id.str.replace("_", " "), rope_low=-rows.rope)
    y = alt.Y("label:N", sort=rows.label.tolist(), title=None)
    tooltip = ["label:N", "verdict:N", "n:Q", _value("improvement", "improvement"), _value("holm_low", "from"),
               _value("holm_high", "to")]  # fmt: skip
    base = alt.Chart(
        _plain(rows, "label", "verdict", "n", "improvement", "holm_low", "holm_high", "rope", "rope_low")
    ).encode(y=y, tooltip=tooltip)
    x = "improvement, % (right: as claimed)"
    colour = alt.Color(
        "verdict:N",
        scale=alt.Scale(
            domain=["reproduced", "contradicted", "equivalent", "inconclusive"],
            range=["var(--good)", "var(--bad)", "var(--even)", "var(--open)"],
        ),
        legend=None,
    )
    rope = base.mark_rule(strokeWidth=14, opacity=0.12, color=_ACCENT).encode(
        x=alt.X("rope_low:Q", title=x), x2="rope:Q"
    )
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(color=_INK, opacity=0.6).encode(x="zero:Q")
    interval = base.mark_rule(strokeWidth=2).encode(x="holm_low:Q", x2="holm_high:Q", color=colour)
    mean = base.mark_point(filled=True, size=80, opacity=1).encode(x="improvement:Q", color=colour)
    return _finish(alt.layer(rope, zero, interval, mean), height=_ROW * len(rows), choice=False)


def trade_off_chart(summary: pd.DataFrame, methods: pd.DataFrame, cost: str) -> dict[str, Any] | None:
    """Scatter of Delta_m against a cost: mean, 95 % t interval, and the front of those that no other beats in both."""
    change = summary[(summary.metric == "delta_m") & (summary.selection == "last") & (summary.output == "final")]
    costs = summary[(summary.task == "cost") & (summary.metric == cost)][["method", "mean"]]
    rows = _labelled(change.merge(costs.rename(columns={"mean": "cost"}), on="method"), methods)
    if len(rows) < 2:
        return None
    shown = display("cost", cost)
    rows = rows.assign(cost=rows.cost * shown.scale)
    front, best = [], float("-inf")
    for row in rows.sort_values(["cost", "mean"], ascending=[True, False]).itertuples():
        if row.mean > best:
            front.append(row.method)
            best = row.mean
    base = alt.Chart(_plain(rows, "method", "label", "cost", "mean", "low", "high"))
    x = alt.X("cost:Q", title=f"{shown.label}, {shown.unit} (left is better)", scale=alt.Scale(zero=False))
    y = alt.Y("mean:Q", title="Δm, % (up is better)")
    tooltip = ["label:N", _value("cost", shown.label), _value("mean", "Δm"), _value("low", "95 % from"),
               _value("high", "to")]  # fmt: skip
    line = alt.Chart(_plain(rows[rows.method.isin(front)], "cost", "mean")).mark_line(
        color=_QUIET, strokeDash=[4, 3], interpolate="step-after"
    )
    interval = base.mark_rule(strokeWidth=1.5).encode(
        x=x, y=alt.Y("low:Q", title="Δm, % (up is better)"), y2="high:Q", color=_chosen()
    )
    points = base.mark_point(filled=True, size=80, opacity=1).encode(x=x, y=y, color=_chosen(), tooltip=tooltip)
    return _finish(alt.layer(line.encode(x=x, y=y), interval, points), height=260)


def sweep_charts(rows: pd.DataFrame, tasks: tuple[Task, ...]) -> list[dict[str, Any]]:
    """One scatter per pair of tasks: schemes as dots, fixed weights as diamonds, a dashed line along their front.

    `rows` are those of `mtcp.analysis.fixed_weights.sweep`.
    """
    known, charts = {task.name: task for task in tasks}, []
    for (architecture, *pair), group in rows.groupby(["architecture", "first", "second"], sort=False):
        axes, shown = {}, group
        for axis, task in zip(("x", "y"), (known[name] for name in pair), strict=True):
            metric = display(task.name, task.metric)
            shown = shown.assign(**{axis: shown[axis] * metric.scale})
            better = (
                ("right" if axis == "x" else "up") if task.higher_is_better else ("left" if axis == "x" else "down")
            )
            title = f"{metric.label}{f', {metric.unit}' if metric.unit else ''} ({better} is better)"
            axes[axis] = (alt.X if axis == "x" else alt.Y)(f"{axis}:Q", title=title, scale=alt.Scale(zero=False))
        base = alt.Chart(_plain(shown, "method", "label", "fixed", "x", "y"))
        tooltip = ["label:N", *(_value(axis, known[name].label) for axis, name in zip(axes, pair, strict=True))]
        points = base.mark_point(filled=True, size=70, opacity=0.9).encode(
            **axes,
            color=_chosen(),
            shape=alt.when("datum.fixed").then(alt.value("diamond")).otherwise(alt.value("circle")),
            tooltip=tooltip,
        )
        front = alt.Chart(_plain(shown[shown.front].sort_values("x"), "x", "y"))
        line = front.mark_line(color=_QUIET, strokeDash=[4, 3]).encode(**axes)
        title = " and ".join(known[name].label for name in pair)
        several = rows.architecture.nunique() > 1
        spec = _finish(alt.layer(line, points), height=240)
        charts.append({"title": f"{title}, {architecture}" if several else title, "spec": spec})
    return charts


def outputs_chart(multi_task: pd.DataFrame, methods: pd.DataFrame, outputs: dict[str, str]) -> dict[str, Any] | None:
    """Delta_m of final, auxiliary and initial outputs, a point per seed; methods with one output are left out."""
    rows = multi_task[(multi_task.selection == "last") & (multi_task.metric == "delta_m")]
    several = rows.groupby("method").output.nunique()
    rows = _labelled(rows[rows.method.isin(several[several > 1].index)], methods)
    if rows.empty:
        return None
    rows = rows.assign(shown=rows.output.map(outputs))
    order = [label for name, label in outputs.items() if name in set(rows.output)]
    chart = (
        alt.Chart(_plain(rows, "label", "shown", "seed", "value"))
        .mark_point(filled=True, size=46, opacity=0.8)
        .encode(
            x=alt.X("value:Q", title="Δm against the baseline's final output, % (right is better)"),
            y=alt.Y("label:N", sort=[label for label in methods.label if label in set(rows.label)], title=None),
            yOffset=alt.YOffset("shown:N", sort=order),
            color=alt.Color(
                "shown:N",
                scale=alt.Scale(domain=order, range=list(_TASK_COLOURS[: len(order)])),
                legend=alt.Legend(title=None, orient="top", labelColor="var(--muted)", columns=2),
            ),
            tooltip=["label:N", "shown:N", "seed:N", _value("value", "Δm")],
        )
    )
    return _finish(chart, height=3 * 14 * rows.label.nunique(), choice=False)


def _epochs(rows: pd.DataFrame) -> alt.X:
    """The epoch axis, at most ten ticks at whole epochs."""
    last = int(rows.epoch.max())
    return alt.X("epoch:Q", title="epoch", axis=alt.Axis(values=list(range(0, last + 1, 1 + last // 10)), format="d"))


def _labelled(rows: pd.DataFrame, methods: pd.DataFrame) -> pd.DataFrame:
    """Add the methods' labels and drop trivial baselines."""
    known = methods[methods.family != "trivial"][["method", "label"]]
    return rows.merge(known, on="method", how="inner")


def _plain(rows: pd.DataFrame, *columns: str) -> alt.Data:
    """The named columns as inline data with five significant digits: charts need no more, and pages stay small."""
    return alt.Data(
        values=[
            {name: float(f"{value:.5g}") if isinstance(value, float) else value for name, value in row.items()}
            for row in rows[list(columns)].astype(object).where(rows[list(columns)].notna(), None).to_dict("records")
        ]
    )


def _value(column: str, title: str) -> alt.Tooltip:
    return alt.Tooltip(f"{column}:Q", title=title, format=".4~g")


def _chosen() -> Any:
    """Colour by the reader's choice of two methods."""
    first = alt.when("datum.method == first").then(alt.value(_ACCENT))
    return first.when("datum.method == second").then(alt.value(_SECOND)).otherwise(alt.value(_QUIET))


def _finish(chart: Any, height: int, choice: bool = True) -> dict[str, Any]:
    """Return the specification: as wide as its place, transparent, the page's colours and font."""
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
    specification = chart.to_dict(validate=False)  # checking the schema takes a second a page; the tests draw it
    specification.pop("$schema", None)
    return specification
