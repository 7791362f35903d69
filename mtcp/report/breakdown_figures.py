"""Charts that break differences down by task, class and seed, from changes.csv, classes.csv and ranks.csv."""

from typing import Any

import altair as alt
import pandas as pd

from mtcp.analysis.comparisons import MULTI_TASK
from mtcp.core.tasks import Task
from mtcp.report.chart_parts import (
    BROUGHT_OUT,
    QUIET,
    baseline_rule,
    chosen,
    finish,
    inline,
    labelled,
    number,
    zero_rule,
)

_CLASS_ROW = 26


def changes_chart(
    changes: pd.DataFrame, methods: pd.DataFrame, tasks: tuple[Task, ...], baseline: str
) -> dict[str, Any] | None:
    """Slope chart: relative change of every task and Delta_m, one line per method; the two chosen with intervals."""
    rows = labelled(changes[changes.method != baseline], methods)
    if rows.empty:
        return None
    names = {task.name: task.label for task in tasks} | {MULTI_TASK: "Δm"}
    rows = rows.assign(task=rows.task.map(names))
    x = alt.X("task:N", sort=list(names.values()), title=None, axis=alt.Axis(labelAngle=0))
    title = "change against the baseline, % (up is better)"
    y = alt.Y("mean:Q", title=title)
    base = alt.Chart(inline(rows, "method", "label", "task", "n", "mean", "low", "high")).encode(x=x)
    tooltip = ["label:N", "task:N", "n:Q", number("mean", "mean"), number("low", "95 % from"), number("high", "to")]
    zero, own = zero_rule("y"), baseline_rule("y", baseline, _label(methods, baseline))
    quiet = base.mark_line(strokeWidth=1.2, opacity=0.6, color=QUIET).encode(y=y, detail="method:N")
    out = base.transform_filter(BROUGHT_OUT)
    interval = out.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q", title=title), y2="high:Q", color=chosen())
    line = out.mark_line(strokeWidth=2.4).encode(y=y, detail="method:N", color=chosen())
    points = base.mark_point(filled=True, size=50, opacity=0.9).encode(y=y, color=chosen(), tooltip=tooltip)
    return finish(alt.layer(zero, own, quiet, interval, line, points), height=300)


def class_charts(
    classes: pd.DataFrame, methods: pd.DataFrame, tasks: tuple[Task, ...], baseline: str
) -> list[dict[str, Any]]:
    """One chart per classification task: difference in IoU from the baseline, with its interval, one row per class."""
    charts = []
    for task in tasks:
        rows = labelled(classes[(classes.task == task.name) & (classes.method != baseline)], methods)
        if rows.empty:
            continue
        rows = rows.assign(**{name: 100 * rows[name] for name in ("iou", "improvement", "low", "high")})
        order = rows.drop_duplicates("number").sort_values("number")["name"].tolist()
        y = alt.Y("name:N", sort=order, title=None, scale=alt.Scale(paddingInner=0.2))
        title = "IoU minus the baseline's, points (right is better)"
        base = alt.Chart(inline(rows, "method", "label", "name", "n", "iou", "improvement", "low", "high"))
        base = base.transform_filter(BROUGHT_OUT).encode(
            y=y, yOffset=alt.YOffset("method:N"), color=chosen(),
            tooltip=["name:N", "label:N", "n:Q", number("iou", "IoU, %"), number("improvement", "difference"),
                     number("low", "95 % from"), number("high", "to")],
        )  # fmt: skip
        zero, own = zero_rule("x"), baseline_rule("x", baseline, _label(methods, baseline))
        interval = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title), x2="high:Q")
        points = base.mark_point(filled=True, size=45, opacity=1).encode(x=alt.X("improvement:Q", title=title))
        spec = finish(alt.layer(zero, own, interval, points), height=_CLASS_ROW * len(order))
        charts.append({"title": f"{task.label}, class by class", "spec": spec})
    return charts


def _label(methods: pd.DataFrame, method: str) -> str:
    return dict(zip(methods.method, methods.label, strict=True)).get(method, method)


def ranks_chart(ranks: pd.DataFrame, methods: pd.DataFrame) -> dict[str, Any] | None:
    """Rank of every method by Delta_m on each single seed, one line per method; None with fewer than two seeds."""
    if ranks.seed.nunique() < 2:
        return None
    rows = labelled(ranks, methods)
    places = list(range(1, int(rows["rank"].max()) + 1))
    y = alt.Y(
        "rank:Q", title="rank by Δm (up is better)", axis=alt.Axis(values=places, format="d"),
        scale=alt.Scale(reverse=True, domain=[0.5, places[-1] + 0.5], nice=False),
    )  # fmt: skip
    base = alt.Chart(inline(rows, "method", "label", "seed", "rank", "delta_m")).encode(
        x=alt.X("seed:O", title="seed", axis=alt.Axis(labelAngle=0)), y=y, detail="method:N", color=chosen(),
        tooltip=["label:N", "seed:N", "rank:Q", number("delta_m", "Δm")],
    )  # fmt: skip
    quiet = base.mark_line(strokeWidth=1.2, opacity=0.7)
    line = base.transform_filter(BROUGHT_OUT).mark_line(strokeWidth=2.4)
    points = base.mark_point(filled=True, size=60, opacity=1)
    return finish(alt.layer(quiet, line, points), height=40 + 26 * len(places))
