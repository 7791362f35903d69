"""Verdicts on the paper's claims (`mtcp.core.claims`), computed from the tidy table of runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from mtcp.analysis.comparisons import DEFAULT_ROPES, MULTI_TASK, Measure, Pairs, by_seed, measures, open_runs, paired
from mtcp.analysis.statistics import ALPHA, Comparison, compare_family, least_n
from mtcp.core.claims import Claim, Published
from mtcp.core.config import Benchmark
from mtcp.core.errors import UserError
from mtcp.core.project_files import CLAIMS, PUBLISHED
from mtcp.core.words import counted

Verdict = Literal["reproduced", "contradicted", "equivalent", "inconclusive", "not run"]
_VERDICTS: dict[str, Verdict] = {
    "better": "reproduced", "worse": "contradicted", "equivalent": "equivalent", "inconclusive": "inconclusive",
}  # fmt: skip


#: The columns that a row takes from its comparison.
_COMPARED: Final = (
    "n", "improvement", "sd", "holm_level", "holm_low", "holm_high", "p", "p_holm", "probability_of_improvement",
    "better", "equal", "worse", "rope", "family_size", "least_n", "detectable", "alpha",
)  # fmt: skip
_COLUMNS: Final = [
    "benchmark", "id", "family", "text", "evidence", "source", "method", "reference", "reference_output", "task",
    "metric", "unit", "verdict", "reason", "environments", *_COMPARED,
]  # fmt: skip


@dataclass(frozen=True)
class Judgement:
    """The result for all claims: a row per claim with its verdict, and a row per claim and paired seed."""

    claims: pd.DataFrame
    pairs: pd.DataFrame


def judge(
    claims: Sequence[Claim],
    table: pd.DataFrame,
    benchmark_name: str,
    benchmark: Benchmark,
    published: pd.DataFrame,
    alpha: float = ALPHA,
) -> Judgement:
    """Judge every claim on this benchmark; a row has the numbers behind the verdict and the reason in words.

    `table` has a row for every planned run, finished or not. The claims of a `family` that the plan can judge form one
    Holm family at error rate `alpha`, whether or not their runs are finished. Claims on deterministic quantities
    (parameters) are separate, since no chance is involved. All other verdicts wait until every planned run is done.
    """
    waiting = open_runs(table)
    known = measures(benchmark)
    pairs: dict[str, Pairs] = {}
    obstacles: dict[str, str] = {}
    chosen = {claim.id: _measure(claim, known, benchmark) for claim in claims}
    families: dict[tuple[str, bool], list[str]] = {}
    ropes: dict[str, float] = {}
    for claim in claims:
        measure = chosen[claim.id]
        found = _pairs(claim, measure, table, benchmark_name, benchmark, published)
        if measure is None or isinstance(found, str):
            obstacles[claim.id] = str(found)
        else:
            pairs[claim.id], ropes[claim.id] = found, measure.rope
            families.setdefault((claim.family, measure.deterministic), []).append(claim.id)
    results: dict[str, Comparison] = {}
    for (_, deterministic), members in families.items():
        for name in members:
            pairs[name] = _enough_or_none(pairs[name], 1 if deterministic else least_n(len(members), alpha))
        compared = compare_family(
            [pairs[name].improvements for name in members],
            [ropes[name] for name in members],
            deterministic=deterministic,
            settled=not waiting,
            alpha=alpha,
        )
        results |= dict(zip(members, compared, strict=True))
    rows = [
        _row(claim, chosen[claim.id], results.get(claim.id), pairs.get(claim.id), obstacles.get(claim.id, ""), waiting)
        for claim in claims
    ]
    seeds = [
        (benchmark_name, name, *values)
        for name, found in pairs.items()
        for values in zip(found.seeds, found.own, found.other, found.improvements, strict=True)
    ]
    return Judgement(
        pd.DataFrame(rows, columns=_COLUMNS).assign(benchmark=benchmark_name),
        pd.DataFrame(seeds, columns=["benchmark", "claim", "seed", "method_value", "reference_value", "improvement"]),
    )


def _measure(claim: Claim, known: dict[str, Measure], benchmark: Benchmark) -> Measure | None:
    measure, rope = known.get(claim.measure), claim.rope
    if measure is None:
        return None
    if claim.metric:
        task = benchmark.tasks[measure.task].model_copy(update={"metric": claim.metric}).task(measure.task)
        # A ROPE in degrees says nothing about shares of pixels.
        rope = rope or (measure.rope if task.metric_unit == measure.unit else DEFAULT_ROPES.get(task.metric_unit))
        if rope is None:
            raise UserError(
                f"{CLAIMS}: claim '{claim.id}' is about {claim.metric} in {task.metric_unit}, and nothing "
                "says what is practically equal there: give the claim a `rope`"
            )
        measure = replace(measure, metric=task.metric, higher_is_better=task.higher_is_better, unit=task.metric_unit)
    return replace(measure, rope=rope or measure.rope)


def _pairs(
    claim: Claim,
    measure: Measure | None,
    table: pd.DataFrame,
    benchmark_name: str,
    benchmark: Benchmark,
    published: pd.DataFrame,
) -> Pairs | str:
    """Return the paired improvements of a claim, or the reason why it cannot be judged."""
    if claim.benchmarks and benchmark_name not in claim.benchmarks:
        return f"judged on {', '.join(claim.benchmarks)} only"
    if measure is None:
        return f"{benchmark_name} has no {claim.measure}"
    if claim.published:
        if benchmark.rendered is not None:
            return "an absolute number, which a rendered benchmark cannot judge"
        return _against_published(claim, claim.published, measure, table, published)
    assert claim.reference is not None, "a claim without a published number has a reference"
    needed = [claim.method, claim.reference, *([benchmark.baseline] if measure.task == MULTI_TASK else [])]
    lacking = [name for name in dict.fromkeys(needed) if name not in set(table.method)]
    if lacking:
        because = (
            f" ({measure.metric} is relative to it)" if lacking == [benchmark.baseline] != [claim.reference] else ""
        )
        return f"{' and '.join(lacking)} not among the methods of the grid{because}"
    found = paired(table, claim.method, claim.reference, measure, claim.reference_output)
    needed = list(dict.fromkeys(needed))
    why = _why_no_value(measure, table, needed) if found.seeds else _why_no_pair(claim, measure, table, needed)
    return replace(found, lacking=why)


def _enough_or_none(found: Pairs, least: int) -> Pairs:
    """Return `found`, or no pair where values were left out and the seeds that remain are too few to conclude."""
    if not found.lacking or len(found.seeds) >= least:
        return found
    none = np.empty(0)
    return Pairs((), none, none, none, lacking=found.lacking)


def _why_no_pair(claim: Claim, measure: Measure, table: pd.DataFrame, needed: list[str]) -> str:
    """Return, in words, why no seed gives a pair."""
    finished = {name: set(table[(table.method == name) & (table.status == "finished")].seed) for name in needed}
    never = [name for name in needed if not finished[name]]
    if never:
        return f"no run of {' and '.join(never)} has finished"
    if not set.intersection(*finished.values()):
        return f"no seed on which {', '.join(needed)} all finished"
    if claim.reference_output:
        return f"{claim.reference} has no output {claim.reference_output}"
    costs = by_seed(table, needed[-1], measure).value
    if measure.relative and len(costs) and (costs == 0).all():
        return f"{measure.metric} of {needed[-1]} is 0, and costs are compared in per cent of it"
    return _why_no_value(measure, table, needed) or "a number that the comparison needs does not exist"


def _why_no_value(measure: Measure, table: pd.DataFrame, needed: list[str]) -> str:
    """Return the reasons why finished runs have no value of `measure`; empty where none was left out."""
    own = table.method.isin(needed) & (table.task == measure.task) & (table.metric == measure.metric)
    without = table[own & table.value.isna()]
    return "" if without.empty else "; ".join(without.reason.dropna().unique())


def _against_published(
    claim: Claim, number: Published, measure: Measure, table: pd.DataFrame, published: pd.DataFrame
) -> Pairs | str:
    row = published[
        (published.dataset == number.dataset)
        & (published.task == number.task)
        & (published.metric == number.metric)
        & (published.method == number.method)
    ]
    if len(row) != 1:
        wanted = f"{number.dataset} {number.task} {number.metric} {number.method}"
        return f"{PUBLISHED} has {len(row) or 'no'} rows '{wanted}' where one is needed"
    own = by_seed(table, claim.method, measure).sort_index()
    values = own.value.to_numpy(float)
    other = np.full(len(values), number.scale * float(row.value.iloc[0]))
    difference = (values - other) * (1 if measure.higher_is_better else -1)
    if measure.relative:
        difference = 100 * difference / other
    lacking = "" if len(values) else f"no run of {claim.method} has finished"
    return Pairs(tuple(int(seed) for seed in own.index), values, other, difference, lacking=lacking)


def _row(
    claim: Claim, measure: Measure | None, result: Comparison | None, pairs: Pairs | None, obstacle: str, waiting: int
) -> dict[str, Any]:
    verdict: Verdict = _VERDICTS[result.conclusion] if result and result.n else "not run"
    obstacle = pairs.lacking if pairs else obstacle
    return {
        "id": claim.id,
        "family": claim.family,
        "text": claim.text,
        "evidence": claim.evidence,
        "source": claim.source or "",
        "method": claim.method,
        "reference": claim.reference or (f"{claim.published.method} (published)" if claim.published else ""),
        "reference_output": claim.reference_output or "",
        "task": measure.task if measure else claim.measure,
        "metric": measure.metric if measure else "",
        "unit": measure.unit if measure else "",
        "verdict": verdict,
        "reason": _reason(result, measure, waiting) if result and result.n and measure else obstacle,
        "environments": ("mixed" if pairs.mixed else "same") if pairs and result and result.n else "",
        **{key: getattr(result, key, np.nan) for key in _COMPARED},
    }


def _reason(result: Comparison, measure: Measure, waiting: int) -> str:
    """Return the reason for the verdict in words; `waiting` is the number of planned runs that are not done."""
    if result.n < result.least_n:
        return f"only {counted(result.n, 'paired seed')}; at least {result.least_n} are needed to conclude"
    if waiting and not measure.deterministic:
        return f"{counted(waiting, 'run')} of the grid not done; verdicts are computed once all have run"
    beyond = result.holm_low > result.rope or result.holm_high < -result.rope
    if beyond and result.conclusion == "inconclusive":
        return f"the interval lies beyond the ROPE, but the exact test does not agree (Holm p {result.p_holm:.3f})"
    where = {
        "better": "the interval lies beyond the ROPE on the claimed side",
        "worse": "the interval lies beyond the ROPE on the other side",
        "equivalent": "the interval lies inside the ROPE",
        "inconclusive": "the interval reaches across the edge of the ROPE",
    }[result.conclusion]
    return "the same number for every seed; " + where if measure.deterministic else where
