"""The tables of papers as one tidy table: main comparison, loss weighting, ablation, kappa, equal cost.

`best` marks the best mean and every method that the declared test cannot distinguish from it: the exact sign-flip p of
the best against it, paired by seed and Holm-corrected over the table's other methods, is above 0.05. With fewer seeds
than that test needs, nothing could be distinguished, and nothing is marked.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from mtcp.analysis.comparisons import COST, Measure, measures, paired, primary
from mtcp.analysis.statistics import ALPHA, holm, least_n, sign_flip_p
from mtcp.core.config import Benchmark, Method

PAPER_COLUMNS: Final = [
    "benchmark", "table", "method", "label", "parts", "kappa", "task", "metric", "n", "mean", "sd", "best",
]  # fmt: skip
#: The columns of ticks in the ablation table: whether a method has the part; defaults are the network's.
PARTS: Final[dict[str, Callable[[Method], bool]]] = {
    "CFM": lambda method: method.architecture.given.get("coherence", "cfm") == "cfm",
    "trace": lambda method: bool(method.architecture.given.get("trace_back", True)),
    "aux": lambda method: bool(
        method.architecture.given.get("auxiliary", True) and method.architecture.given.get("trace_back", True)
    ),
    "LPS": lambda method: method.scheme.name.startswith("lps"),
    "log": lambda method: (
        method.scheme.name.startswith("lps") and bool(method.scheme.given.get("log_projection", True))
    ),
}


def members(benchmark: Benchmark, methods: Mapping[str, Method]) -> dict[str, list[str]]:
    """Return {table: its methods, in the grid's order}; tables with fewer than two methods are left out."""
    reference = methods.get(benchmark.reference)
    found = {"main": [name for name, each in methods.items() if each.family in ("baseline", "reference", "method")]}
    if reference is not None:
        same_network = [name for name, each in methods.items() if each.architecture == reference.architecture]
        plain = [name for name in same_network if methods[name].losses == reference.losses]
        found["weighting"] = [
            name
            for name in same_network
            if _same_losses(methods[name], reference)
            and not set(methods[name].scheme.given) - {"distribution"}
            and (name == benchmark.reference or methods[name].scheme != reference.scheme)
        ]
        found["ablation"] = [
            name for name, each in methods.items() if name == benchmark.reference or each.family == "ablation"
        ]
        found["kappa"] = [
            name
            for name in plain
            if methods[name].scheme.name == reference.scheme.name and set(methods[name].scheme.given) <= {"kappa"}
        ]
    return {table: names for table, names in found.items() if len(names) > 1}


#: Costs within this fraction of the reference's count as equal.
EQUAL_COST: Final = 0.05


def equal_cost_members(
    summary: pd.DataFrame, benchmark: Benchmark, methods: Mapping[str, Method]
) -> dict[str, list[str]]:
    """Return {"encoder": one method per architecture, "gflops": methods with the reference's cost}, or nothing.

    All methods of a benchmark use the same encoder; an architecture in several sizes is represented by the grid's
    first. Equal cost means within 5 % of the reference's GFLOPs. With fewer than three such methods, nothing is
    returned.
    """
    counted = summary[(summary.task == COST) & (summary.metric == "gflops")].set_index("method")["mean"]
    rivals = [
        name for name, each in methods.items() if each.family in ("baseline", "reference", "method") and name in counted
    ]
    if benchmark.reference not in rivals:
        return {}
    goal = counted[benchmark.reference]
    own = methods[benchmark.reference].architecture.name
    equal = [
        name
        for name in rivals
        if abs(counted[name] - goal) <= EQUAL_COST * goal
        and (name == benchmark.reference or methods[name].architecture.name != own)
    ]
    first: dict[str, str] = {own: benchmark.reference}
    for name in rivals:
        first.setdefault(methods[name].architecture.name, name)
    return {"encoder": [name for name in rivals if name in first.values()], "gflops": equal} if len(equal) > 2 else {}


def _same_losses(method: Method, reference: Method) -> bool:
    """Whether both have the same losses, apart from whether the scheme also weighs the auxiliary ones."""
    other = reference.losses.model_copy(update={"auxiliary_weighting": method.losses.auxiliary_weighting})
    return method.losses == other


def paper_tables(
    table: pd.DataFrame, summary: pd.DataFrame, benchmark: Benchmark, methods: Mapping[str, Method]
) -> pd.DataFrame:
    """Return a row per table x method x measure: tasks' primary metrics, Delta_m, Delta_c and parameters.

    Tables at equal cost also have GFLOPs and seconds per image.

    `table` is runs.csv with its Delta_m rows, `summary` its summary.
    """
    known = measures(benchmark)
    shown = {name: each for name, each in known.items() if each.task != COST or name == "parameters"}
    with_costs = shown | {name: known[name] for name in ("gflops", "seconds_per_image")}
    at_equal_cost = equal_cost_members(summary, benchmark, methods)
    chosen = primary(summary, costs=True).to_dict("records")
    by_key = {(row["method"], row["task"], row["metric"]): row for row in chosen}
    rows = []
    for name, group in (members(benchmark, methods) | at_equal_cost).items():
        for measure in (with_costs if name in at_equal_cost else shown).values():
            numbers = {
                method: by_key[key] for method in group if (key := (method, measure.task, measure.metric)) in by_key
            }
            most = max((row["n"] for row in numbers.values()), default=0)
            whole = {method: float(row["mean"]) for method, row in numbers.items() if row["n"] == most}
            best = _best(table, measure, whole)
            rows += [
                {
                    "benchmark": summary.benchmark.iloc[0],
                    "table": name,
                    "method": method,
                    "label": methods[method].label,
                    "parts": ";".join(part for part, has in PARTS.items() if has(methods[method])),
                    "kappa": _kappa(benchmark, methods[method]),
                    "task": measure.task,
                    "metric": measure.metric,
                    **{key: row[key] for key in ("n", "mean", "sd")},
                    "best": method in best,
                }
                for method, row in numbers.items()
            ]
    return pd.DataFrame(rows, columns=PAPER_COLUMNS)


def _kappa(benchmark: Benchmark, method: Method) -> Any:
    defaults = benchmark.scheme_parameters.get(method.scheme.name, {})
    return method.scheme.given.get("kappa", defaults.get("kappa", np.nan))


def _best(table: pd.DataFrame, measure: Measure, means: dict[str, float]) -> set[str]:
    """The method with the best mean, and those that the exact test cannot tell from it; costs have no test.

    `means` are of methods that lack no seed: a mean over fewer is a mean over others.
    """
    if not means or measure.task == COST:
        return set()
    best = (max if measure.higher_is_better else min)(means, key=lambda name: means[name])
    others = [name for name in means if name != best]
    differences = [paired(table, best, other, measure).improvements for other in others]
    if not others or max(each.size for each in differences) < least_n(len(others)):
        return set()
    p = holm([sign_flip_p(each) if each.size else 1.0 for each in differences])
    return {best, *(other for other, value in zip(others, p, strict=True) if value > ALPHA)}
