"""Verdicts on the paper's claims (`mtcp.core.claims`), computed from the tidy table of runs."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from mtcp.analysis.comparisons import Measure, Pairs, by_seed, paired
from mtcp.analysis.statistics import Comparison, compare_family
from mtcp.core.claims import Claim, Published
from mtcp.core.config import Benchmark

Verdict = Literal["reproduced", "contradicted", "equivalent", "inconclusive", "not run"]
_VERDICTS: dict[str, Verdict] = {
    "better": "reproduced", "worse": "contradicted", "equivalent": "equivalent", "inconclusive": "inconclusive",
}  # fmt: skip


def judge(
    claims: Sequence[Claim],
    table: pd.DataFrame,
    benchmark_name: str,
    benchmark: Benchmark,
    known: dict[str, Measure],
    published: pd.DataFrame,
) -> pd.DataFrame:
    """Return one row a claim with its verdict on this benchmark, the numbers behind it and, in words, the reason.

    `table` has a row for every planned run, finished or not. All claims that the plan can judge form one Holm
    family, finished or not; those on deterministic quantities (parameters) stand apart, as no chance is in them.
    """
    pairs: dict[str, Pairs] = {}
    obstacles: dict[str, str] = {}
    chosen = {claim.id: _measure(claim, known) for claim in claims}
    for claim in claims:
        found = _pairs(claim, chosen[claim.id], table, benchmark_name, benchmark, published)
        if isinstance(found, str):
            obstacles[claim.id] = found
        else:
            pairs[claim.id] = found
    results: dict[str, Comparison] = {}
    for deterministic in (False, True):
        family = [name for name in pairs if chosen[name].deterministic is deterministic]
        compared = compare_family(
            [pairs[name].improvements for name in family],
            [chosen[name].rope for name in family],
            deterministic=deterministic,
        )
        results |= dict(zip(family, compared, strict=True))
    return pd.DataFrame(
        [_row(claim, chosen[claim.id], results.get(claim.id), obstacles.get(claim.id, "")) for claim in claims]
    ).assign(benchmark=benchmark_name)


def _measure(claim: Claim, known: dict[str, Measure]) -> Measure | None:
    measure = known.get(claim.measure)
    if measure and claim.metric:
        return Measure(measure.task, claim.metric, measure.higher_is_better, measure.rope, measure.unit)
    return measure


def _pairs(
    claim: Claim,
    measure: Measure | None,
    table: pd.DataFrame,
    benchmark_name: str,
    benchmark: Benchmark,
    published: pd.DataFrame,
) -> Pairs | str:
    """Return the paired improvements of a claim, or the reason why there are none."""
    if claim.benchmarks and benchmark_name not in claim.benchmarks:
        return f"judged on {', '.join(claim.benchmarks)} only"
    if measure is None:
        return f"{benchmark_name} has no {claim.measure}"
    if claim.published:
        if benchmark.rendered is not None:
            return "an absolute number, which a rendered benchmark cannot judge"
        return _against_published(claim, claim.published, measure, table, published)
    lacking = [name for name in (claim.method, claim.reference) if name not in set(table.method)]
    if lacking:
        return f"{' and '.join(lacking)} not among the methods of the grid"
    return paired(table, claim.method, claim.reference, measure)


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
        return f"results/published.csv has {len(row) or 'no'} rows '{wanted}' where one is needed"
    own = by_seed(table, claim.method, measure).sort_index()
    difference = own.value.to_numpy(float) - number.scale * float(row.value.iloc[0])
    return Pairs(
        tuple(int(seed) for seed in own.index), difference if measure.higher_is_better else -difference, mixed=False
    )


def _row(claim: Claim, measure: Measure | None, result: Comparison | None, obstacle: str) -> dict[str, Any]:
    verdict: Verdict = _VERDICTS[result.conclusion] if result and result.n else "not run"
    return {
        "benchmark": "",
        "id": claim.id,
        "text": claim.text,
        "evidence": claim.evidence,
        "source": claim.source,
        "method": claim.method,
        "reference": claim.reference or f"{claim.published.method} (published)",
        "task": measure.task if measure else claim.measure,
        "metric": measure.metric if measure else "",
        "unit": measure.unit if measure else "",
        "verdict": verdict,
        "reason": _reason(result, measure) if result else obstacle,
        **{
            key: getattr(result, key, np.nan)
            for key in (
                "n", "improvement", "sd", "holm_level", "holm_low", "holm_high", "p", "p_holm",
                "probability_of_improvement", "better", "equal", "worse", "rope", "family_size", "least_n",
                "detectable",
            )
        },
    }  # fmt: skip


def _reason(result: Comparison, measure: Measure) -> str:
    """Say in words why the verdict is what it is."""
    if not result.n:
        return "no seed on which both runs finished"
    if result.n < result.least_n:
        seeds = "1 paired seed" if result.n == 1 else f"{result.n} paired seeds"
        return f"{seeds}, and {result.least_n} are the least that could conclude"
    where = {
        "better": "the interval lies beyond the ROPE on the claimed side",
        "worse": "the interval lies beyond the ROPE on the other side",
        "equivalent": "the interval lies inside the ROPE",
        "inconclusive": "the interval reaches across the edge of the ROPE",
    }[result.conclusion]
    return "the same number for every seed; " + where if measure.deterministic else where
