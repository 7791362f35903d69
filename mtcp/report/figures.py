"""Charts of a report as Vega-Lite specifications, made from the tables; colours are the page's CSS variables.

A reader chooses two methods to highlight: every chart reads the parameters `first` and `second`, which the page's two
lists set. Trivial baselines are left out of charts, where they would squeeze all others together; tables show them.
"""

from typing import Any, Final

import altair as alt
import numpy as np
import pandas as pd

from mtcp.analysis.comparisons import MULTI_TASK, primary
from mtcp.analysis.fixed_weights import undominated
from mtcp.core.config import Benchmark
from mtcp.core.tasks import Task
from mtcp.report.chart_parts import (
    ACCENT,
    BROUGHT_OUT,
    QUIET,
    ROW,
    TASK_COLOURS,
    chosen,
    epochs,
    finish,
    fitting,
    inline,
    labelled,
    number,
    zero_rule,
)
from mtcp.report.formats import display
from mtcp.training.history import LOSS, VALIDATION_LOSS


def delta_m_chart(
    multi_task: pd.DataFrame, summary: pd.DataFrame, methods: pd.DataFrame, rope: float
) -> dict[str, Any]:
    """Forest plot of Delta_m: one point per seed, mean and 95 % t interval, ROPE band, zero line."""
    rows = labelled(primary(summary[summary.metric == "delta_m"]), methods).sort_values("mean", ascending=False)
    points = labelled(primary(multi_task[multi_task.metric == "delta_m"]), methods)
    order = rows.label.tolist()
    y = alt.Y("label:N", sort=order, title=None)
    x = "Δm against the baseline, % (right is better)"
    band = alt.Chart(alt.Data(values=[{"low": -rope, "high": rope}])).mark_rect(color=ACCENT, opacity=0.09)
    band = band.encode(x=alt.X("low:Q", title=x), x2="high:Q")
    zero = zero_rule("x")
    tooltip = ["label:N", "n:Q", number("mean", "mean"), number("low", "95 % from"), number("high", "to")]
    base = alt.Chart(inline(rows, "method", "label", "n", "mean", "low", "high"))
    interval = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", y=y, color=chosen(), tooltip=tooltip)
    mean = base.mark_point(filled=True, size=90, opacity=1).encode(x="mean:Q", y=y, color=chosen(), tooltip=tooltip)
    seeds = alt.Chart(inline(points, "method", "label", "seed", "value")).mark_tick(
        thickness=1.5, height=9, opacity=0.7
    )
    seeds = seeds.encode(x="value:Q", y=y, color=chosen(), tooltip=["label:N", "seed:N", number("value", "Δm")])
    return finish(alt.layer(band, zero, interval, seeds, mean), height=ROW * len(order))


def seed_charts(runs: pd.DataFrame, methods: pd.DataFrame, benchmark: Benchmark) -> list[dict[str, Any]]:
    """One strip chart per task: every seed a point, its primary metric on the last epoch's final output."""
    charts = []
    for task in benchmark.task_list:
        own = primary(runs[(runs.task == task.name) & (runs.metric == task.metric)])
        rows = labelled(own.dropna(subset=["value"]), methods)
        if rows.empty:
            continue
        shown = display(task.name, task.metric, benchmark)
        rows = rows.assign(shown=rows.value * shown.scale)
        order = [label for label in methods.label if label in set(rows.label)]
        better = "right" if task.higher_is_better else "left"
        unit = f", {shown.unit}" if shown.unit else ""
        chart = (
            alt.Chart(inline(rows, "method", "label", "seed", "shown"))
            .mark_point(size=46, filled=True, opacity=0.85)
            .encode(
                x=alt.X("shown:Q", scale=fitting(rows.shown), title=f"{shown.label}{unit} ({better} is better)"),
                y=alt.Y("label:N", sort=order, title=None),
                color=chosen(),
                tooltip=["label:N", "seed:N", number("shown", shown.label)],
            )
        )
        charts.append({"title": task.label, "spec": finish(chart, height=ROW * len(order))})
    return charts


def loss_charts(curves: pd.DataFrame, methods: pd.DataFrame, tasks: tuple[Task, ...]) -> list[dict[str, Any]]:
    """One chart per task: the loss by epoch, mean over seeds; the validation loss if there is a validation split."""
    charts = []
    for task in tasks:
        column = f"{VALIDATION_LOSS}{task.name}"
        if column not in set(curves.column):
            column = f"{LOSS}{task.name}"
        rows = labelled(curves[curves.column == column], methods)
        if rows.empty:
            continue
        where = "validation" if column.startswith("validation") else "training"
        charts.append(
            {
                "title": task.label,
                "spec": _by_epoch(rows, f"{where} loss", fitting(pd.concat([rows.least, rows.greatest]))),
            }
        )
    return charts


#: At most this many lines have their names beside them; more of these would overlap.
_NAMED_LINES: Final = 3
#: Gradient diagnostics of `mtcp.weighting.monitor`, by the prefix of their columns: title and scale.
_GRADIENTS: Final = {
    "cosine_": ("cosine, mean over pairs", alt.Scale(domain=[-1, 1])),
    "magnitude_similarity": ("magnitude similarity", alt.Scale(domain=[0, 1])),
    "condition_number": ("condition number", alt.Scale(type="log")),
    "scheme_share": ("share of the update from the scheme", alt.Scale(domain=[0, 1])),
}


def gradient_charts(curves: pd.DataFrame, methods: pd.DataFrame) -> list[dict[str, Any]]:
    """Diagnostics of the tasks' gradients on the shared parameters by epoch: one chart per measure, mean over seeds.

    The scheme's share is left out where it is 1 everywhere, that is, where no loss bypasses a scheme. Lines are named
    where few methods have records, since the two that are highlighted may not be among them.
    """
    charts = []
    for start, (title, scale) in _GRADIENTS.items():
        rows = curves[curves.column.str.startswith(start)].dropna(subset=["mean"])
        rows = rows.groupby(["method", "epoch"], as_index=False)[["mean", "least", "greatest"]].mean()
        rows = labelled(rows, methods)
        if rows.empty or (start == "scheme_share" and rows["mean"].min() == 1):
            continue
        named = rows.method.nunique() <= _NAMED_LINES
        charts.append({"title": title.capitalize(), "spec": _by_epoch(rows, title, scale, named)})
    return charts


def _by_epoch(rows: pd.DataFrame, title: str, scale: alt.Scale, named: bool = False) -> dict[str, Any]:
    """Lines of all methods by epoch, `named` or not; the chosen ones in colour, with the range over seeds."""
    rows = rows.assign(last=rows.epoch == rows.groupby("method").epoch.transform("max"))
    base = alt.Chart(inline(rows, "method", "label", "epoch", "mean", "least", "greatest", "last")).encode(
        x=epochs(rows), detail="method:N"
    )
    y = alt.Y("mean:Q", title=title, scale=scale)
    quiet = base.mark_line(strokeWidth=1.2, opacity=0.75, color=QUIET).encode(
        y=y, tooltip=["label:N", "epoch:Q", number("mean", title)]
    )
    out = base.transform_filter(BROUGHT_OUT)
    band = out.mark_area(opacity=0.14).encode(y="least:Q", y2="greatest:Q", color=chosen())
    line = out.mark_line(strokeWidth=2.6).encode(y=y, color=chosen())
    layers = [quiet, band, line]
    if named:
        name = base.transform_filter("datum.last").mark_text(align="right", dy=-9, fontSize=12)
        layers.append(name.encode(y=y, text="label:N", color=chosen()))
    return finish(alt.layer(*layers), height=190)


def _differ(values: pd.Series) -> bool:
    """Whether values differ by more than rounding."""
    return values.max() - values.min() > 1e-6 * values.abs().max()


def weight_charts(curves: pd.DataFrame, methods: pd.DataFrame, tasks: tuple[Task, ...]) -> list[dict[str, Any]]:
    """One chart per method whose weights change: weight of each task by epoch, mean and range over seeds.

    A strip on top has the colour of the task with the largest mean weight in that epoch. The chart of a method that
    prioritises by loss (LPS) is followed by a chart of its losses.
    """
    charts = []
    for method in methods.itertuples():
        own = _of_tasks(curves[curves.method == method.method], "weight", tasks)
        if not any(_differ(means) for _, means in own.groupby("task")["mean"]):
            continue
        first = own.loc[[means.idxmax() for _, means in own.groupby("epoch")["mean"] if _differ(means)]]
        first = first.assign(begin=first.epoch - 0.5, end=first.epoch + 0.5)
        strip = alt.Chart(inline(first, "task", "epoch", "begin", "end")).mark_rect()
        strip = strip.encode(
            x=alt.X("begin:Q", scale=alt.Scale(nice=False)),
            x2="end:Q",
            y=alt.value(-10),
            y2=alt.value(-3),
            color=_by_task(tasks),
            tooltip=[alt.Tooltip("task:N", title="prioritised"), "epoch:Q"],
        )
        layers = [*_lines(own, tasks, "weight", alt.Scale(zero=True)), strip]
        if (own.least < 0).any():  # below zero a task's loss is ascended
            below = alt.Chart(inline(pd.DataFrame({"low": [own.least.min()], "high": [0]}), "low", "high"))
            layers.insert(0, below.mark_rect(color="var(--bad)", opacity=0.1).encode(y="low:Q", y2="high:Q"))
        charts.append({"title": method.label, "spec": finish(alt.layer(*layers), height=170, choice=False)})
        losses = _of_tasks(curves[curves.method == method.method], "loss", tasks)
        if str(method.scheme).startswith("lps") and not losses.empty:
            scale = alt.Scale(type="log" if (losses.least > 0).all() else "linear", nice=False)
            spec = finish(alt.layer(*_lines(losses, tasks, "training loss", scale)), height=170, choice=False)
            charts.append({"title": f"{method.label}: the losses", "spec": spec})
    return charts


def _of_tasks(curves: pd.DataFrame, kind: str, tasks: tuple[Task, ...]) -> pd.DataFrame:
    """The columns `<kind>_<task>` of the curves, labelled by task."""
    labels = {f"{kind}_{task.name}": task.label for task in tasks}
    rows = curves[curves.column.isin(labels)]
    return rows.assign(task=rows.column.map(labels))


def _by_task(tasks: tuple[Task, ...]) -> alt.Color:
    """Colour by task; the page shows one legend above all these charts."""
    labels = [task.label for task in tasks]
    return alt.Color("task:N", scale=alt.Scale(domain=labels, range=list(TASK_COLOURS[: len(labels)])), legend=None)


def _lines(rows: pd.DataFrame, tasks: tuple[Task, ...], title: str, scale: alt.Scale) -> list[Any]:
    """A line per task with its range over seeds."""
    base = alt.Chart(inline(rows, "task", "epoch", "mean", "least", "greatest"))
    base = base.encode(x=epochs(rows), color=_by_task(tasks))
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("least:Q", title=title, scale=scale), y2="greatest:Q")
    line = base.mark_line(strokeWidth=2).encode(
        y=alt.Y("mean:Q", title=title, scale=scale), tooltip=["task:N", "epoch:Q", number("mean", title)]
    )
    return [band, line]


def claims_chart(claims: pd.DataFrame) -> dict[str, Any] | None:
    """Forest plot of the claims on Delta_m and Delta_c: improvement and Holm interval, with the ROPE behind."""
    rows = claims[(claims.n > 0) & (claims.task == MULTI_TASK)]
    if rows.empty:
        return None
    rows = rows.assign(label=rows.id.str.replace("_", " "), rope_low=-rows.rope)
    y = alt.Y("label:N", sort=rows.label.tolist(), title=None)
    tooltip = ["label:N", "verdict:N", "n:Q", number("improvement", "improvement"), number("holm_low", "from"),
               number("holm_high", "to")]  # fmt: skip
    base = alt.Chart(
        inline(rows, "label", "verdict", "n", "improvement", "holm_low", "holm_high", "rope", "rope_low")
    ).encode(y=y, tooltip=tooltip)
    x = "improvement, points (right: as claimed)"
    colour = alt.Color(
        "verdict:N",
        scale=alt.Scale(
            domain=["reproduced", "contradicted", "equivalent", "inconclusive"],
            range=["var(--good)", "var(--bad)", "var(--even)", "var(--open)"],
        ),
        legend=None,
    )
    rope = base.mark_rule(strokeWidth=14, opacity=0.12, color=ACCENT).encode(
        x=alt.X("rope_low:Q", title=x), x2="rope:Q"
    )
    zero = zero_rule("x")
    interval = base.mark_rule(strokeWidth=2).encode(x="holm_low:Q", x2="holm_high:Q", color=colour)
    mean = base.mark_point(filled=True, size=80, opacity=1).encode(x="improvement:Q", color=colour)
    return finish(alt.layer(rope, zero, interval, mean), height=ROW * len(rows), choice=False)


def trade_off_chart(summary: pd.DataFrame, methods: pd.DataFrame, cost: str) -> dict[str, Any] | None:
    """Scatter of Delta_m against a cost: mean, 95 % t interval, and the Pareto front."""
    change = primary(summary[summary.metric == "delta_m"])
    costs = summary[(summary.task == "cost") & (summary.metric == cost)][["method", "mean"]]
    rows = labelled(change.merge(costs.rename(columns={"mean": "cost"}), on="method"), methods)
    if len(rows) < 2:
        return None
    shown = display("cost", cost)
    rows = rows.assign(cost=rows.cost * shown.scale)
    known = rows.dropna(subset=["cost", "mean"]).sort_values("cost")
    front = known[undominated(np.column_stack([-known.cost, known["mean"]]))]
    base = alt.Chart(inline(rows, "method", "label", "cost", "mean", "low", "high"))
    x = alt.X("cost:Q", title=f"{shown.label}, {shown.unit} (left is better)", scale=fitting(rows.cost))
    y = alt.Y("mean:Q", title="Δm, % (up is better)")
    tooltip = ["label:N", number("cost", shown.label), number("mean", "Δm"), number("low", "95 % from"),
               number("high", "to")]  # fmt: skip
    line = alt.Chart(inline(front, "cost", "mean")).mark_line(color=QUIET, strokeDash=[4, 3], interpolate="step-after")
    interval = base.mark_rule(strokeWidth=1.5).encode(
        x=x, y=alt.Y("low:Q", title="Δm, % (up is better)"), y2="high:Q", color=chosen()
    )
    points = base.mark_point(filled=True, size=80, opacity=1).encode(x=x, y=y, color=chosen(), tooltip=tooltip)
    return finish(alt.layer(line.encode(x=x, y=y), interval, points), height=260)


def sweep_charts(rows: pd.DataFrame, benchmark: Benchmark) -> list[dict[str, Any]]:
    """One scatter per pair of tasks: schemes as dots, fixed weights as diamonds, a dashed line along their front.

    `rows` are those of `mtcp.analysis.fixed_weights.sweep`.
    """
    known, charts = {task.name: task for task in benchmark.task_list}, []
    for (architecture, *both), group in rows.groupby(["architecture", "first", "second"], sort=False):
        pair = [str(name) for name in both]
        axes, shown = {}, group
        for axis, task in zip(("x", "y"), (known[name] for name in pair), strict=True):
            metric = display(task.name, task.metric, benchmark)
            shown = shown.assign(**{axis: shown[axis] * metric.scale})
            better = (
                ("right" if axis == "x" else "up") if task.higher_is_better else ("left" if axis == "x" else "down")
            )
            title = f"{metric.label}{f', {metric.unit}' if metric.unit else ''} ({better} is better)"
            axes[axis] = (alt.X if axis == "x" else alt.Y)(f"{axis}:Q", title=title, scale=fitting(shown[axis]))
        base = alt.Chart(inline(shown, "method", "label", "fixed", "x", "y"))
        tooltip = ["label:N", *(number(axis, known[name].label) for axis, name in zip(axes, pair, strict=True))]
        points = base.mark_point(filled=True, size=70, opacity=0.9).encode(
            **axes,
            color=chosen(),
            shape=alt.when("datum.fixed").then(alt.value("diamond")).otherwise(alt.value("circle")),
            tooltip=tooltip,
        )
        front = alt.Chart(inline(shown[shown.front].sort_values("x"), "x", "y"))
        line = front.mark_line(color=QUIET, strokeDash=[4, 3]).encode(**axes)
        title = " and ".join(known[name].label for name in pair)
        several = rows.architecture.nunique() > 1
        spec = finish(alt.layer(line, points), height=240)
        charts.append({"title": f"{title}, {architecture}" if several else title, "spec": spec})
    return charts


def outputs_chart(multi_task: pd.DataFrame, methods: pd.DataFrame, outputs: dict[str, str]) -> dict[str, Any] | None:
    """Delta_m of final, auxiliary and initial outputs, one point per seed; methods with one output are left out."""
    rows = multi_task[(multi_task.selection == "last") & (multi_task.metric == "delta_m")]
    several = rows.groupby("method").output.nunique()
    rows = labelled(rows[rows.method.isin(several[several > 1].index)], methods)
    if rows.empty:
        return None
    rows = rows.assign(shown=rows.output.map(outputs))
    order = [label for name, label in outputs.items() if name in set(rows.output)]
    chart = (
        alt.Chart(inline(rows, "label", "shown", "seed", "value"))
        .mark_point(filled=True, size=46, opacity=0.8)
        .encode(
            x=alt.X("value:Q", title="Δm against the baseline's final output, % (right is better)"),
            y=alt.Y("label:N", sort=[label for label in methods.label if label in set(rows.label)], title=None),
            yOffset=alt.YOffset("shown:N", sort=order),
            color=alt.Color(
                "shown:N",
                scale=alt.Scale(domain=order, range=list(TASK_COLOURS[: len(order)])),
                legend=alt.Legend(title=None, orient="top", labelColor="var(--muted)", columns=2),
            ),
            tooltip=["label:N", "shown:N", "seed:N", number("value", "Δm")],
        )
    )
    return finish(chart, height=3 * 14 * rows.label.nunique(), choice=False)
