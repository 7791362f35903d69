"""The verdicts on the claims for the templates: families, seeds behind a verdict, missing seeds."""

from math import isfinite
from typing import Any, Final

import numpy as np
import pandas as pd

from mtcp.analysis.comparisons import MULTI_TASK
from mtcp.analysis.grid import could_conclude
from mtcp.analysis.rows import rows_of
from mtcp.analysis.speed import MEASURED
from mtcp.analysis.statistics import alpha_of_look, least_n
from mtcp.core.config import Benchmark
from mtcp.core.words import counted
from mtcp.report.formats import Display, difference, display, probability
from mtcp.report.page import Page

SIGNS: Final = {"reproduced": "✓", "contradicted": "✗", "equivalent": "≈", "inconclusive": "?", "not run": "–"}
OUTPUTS: Final = {
    "final": "final output",
    "initial": "initial prediction",
    "aux1": "first auxiliary output",
    "aux2": "second auxiliary output",
}
#: Headings of the known families of claims; other families are shown by name.
FAMILIES: Final = {
    "main": "Main claims",
    "coherence": "Coherence between tasks",
    "refinement": "Final against earlier predictions",
    "cost": "Cost",
    "ablations": "Further parts and schemes",
    "published": "Published numbers",
}
#: Width and height of the drawings of seeds, and their margins (px).
_WIDE, _HIGH, _EDGE = 320, 66, 12
_PAIRS_WIDE, _PAIRS_HIGH = 320, 130


def tally(claims: pd.DataFrame) -> list[tuple[str, str]]:
    """Return [("reproduced", "✓ 1 reproduced"), ("not run", "– 2 not run")]: verdicts with their counts."""
    counts = claims.verdict.value_counts()
    return [(verdict, f"{sign} {counts[verdict]} {verdict}") for verdict, sign in SIGNS.items() if verdict in counts]


def verdict_groups(page: Page) -> list[dict[str, Any]]:
    """Return the judged claims by family, in the file's order: heading, note (size, least n, error rate), claims.

    Costs that `mtcp benchmark` measured have rounds instead of seeds.
    """
    claims, pairs, params = page.tables["claims"], page.tables["pairs"], page.project.params
    apart, waiting = len(page.tables["speed"]) > 0, dict(zip(page.methods.method, page.methods.open, strict=True))
    judged = claims[claims.n > 0]
    judged = judged.assign(unit=np.where(judged.metric.isin(MEASURED) & apart, "round", "seed"))
    looked = any(could_conclude(row.least_n, row.n, len(params.seeds)) for row in rows_of(judged))
    next_look = params.looks + 1 if looked else None

    def whole(row: Any) -> dict[str, Any]:
        still = max(waiting.get(row.method, 0), waiting.get(row.reference, 0))
        view = claim_view(row, pairs[pairs.claim == row.id], page.labels, page.benchmark)
        return view | missing(row, int(row.n) + still, next_look)

    return [
        {
            "family": family,
            "title": _title(str(family), page.about_paper),
            "note": f"{_claims(int(rows.family_size.max()))} at {100 * rows.alpha.iloc[0]:g} % · "
            f"at least {_needed(int(rows.least_n.max()), 's and '.join(rows.unit.unique()))} needed to conclude",
            "claims": [whole(row) for row in rows_of(rows)],
        }
        for family, rows in judged.groupby("family", sort=False)
    ]


def _title(family: str, about_paper: bool) -> str:
    return "The paper's argument" if about_paper and family == "main" else FAMILIES.get(family, family)


def _needed(least: int, unit: str) -> str:
    return f"{counted(least, unit)} {'is' if least == 1 else 'are'}"


def _claims(count: int) -> str:
    return "1 claim" if count == 1 else f"{count} claims corrected together"


def claim_view(row: Any, pairs: pd.DataFrame, labels: dict[str, str], benchmark: Benchmark) -> dict[str, Any]:
    """Return one claim as text, with the seeds or rounds behind it (`pairs`: its rows of pairs.csv)."""
    shown, values = (how(str(row.task), str(row.metric), benchmark) for how in (difference, display))
    has = row.n > 0
    method, reference = (str(labels.get(name, name)) for name in (row.method, row.reference))
    if isinstance(row.reference_output, str) and row.reference_output:
        reference = f"{'its' if row.reference == row.method else reference + ','} {OUTPUTS[row.reference_output]}"
    what = f", {values.label}" if isinstance(row.metric, str) else ""
    what += ", across different environments" if row.environments == "mixed" else ""
    return {
        "verdict": row.verdict,
        "sign": SIGNS[row.verdict],
        "text": row.text,
        "evidence": row.evidence,
        "origin": _origin(row),
        "comparison": f"{method} against {reference}{what}",
        "improvement": f"{shown.number(row.improvement, signed=True)} {shown.unit}".strip() if has else "",
        "interval": shown.interval(row.holm_low, row.holm_high) if has and isfinite(row.holm_low) else "",
        "reason": row.reason,
        "rope": f"±{shown.number(row.rope)} {shown.unit}".strip() if has else "",
        "n": int(row.n) if has else 0,
        "unit": row.unit if has else "",
        "units": (values.unit, shown.unit),
        "seeds": [_seed(pair, row, shown, values) for pair in rows_of(pairs)],
        "picture": _picture(pairs, row, shown) if has else None,
        "lines": _lines(pairs, row, values) if has else None,
        **posterior(row),
    }


def _origin(row: Any) -> str:
    """Return where a claim was read; one's own need not have been read anywhere."""
    kind = "claim of this study" if row.evidence == "own" else f"evidence: {row.evidence}"
    return f"{kind} · {row.source}" if isinstance(row.source, str) and row.source.strip() else kind


def missing(row: Any, reachable: int, next_look: int | None) -> dict[str, Any]:
    """Return the least number of seeds or rounds with which a claim can conclude, and the commands that lead there.

    `reachable`: the seeds that it has once all planned runs are done. `next_look`: the number of the look that added
    seeds would be, if they were one.
    """
    least, run = int(row.least_n), "snakemake --cores all"
    if row.n >= least:
        return {"command": ""}
    if row.metric in MEASURED:
        return {"least": least, "command": f"mtcp benchmark {row.benchmark} --rounds {least} && {run}", "look": False}
    if reachable >= least:
        return {"least": least, "command": run, "look": False}
    if next_look is not None:
        least = least_n(int(row.family_size), alpha_of_look(next_look))
    add = f"mtcp grid add-seeds {least - reachable}"
    return {"least": least, "command": f"{add} && {run}", "look": next_look is not None}


def posterior(row: Any) -> dict[str, Any]:
    """Return the three probabilities as text, and as bar widths in per cent.

    No bar below the least n: a full green one beside "inconclusive" would tell the eye another story.
    """
    parts = (row.better, row.equal, row.worse)
    texts = dict(zip(("better", "equal", "worse"), map(probability, parts), strict=True))
    shown = row.n >= row.least_n and all(map(isfinite, parts))
    return {**texts, "bar": [f"{100 * part:.2f}" for part in parts] if shown else []}


def _seed(pair: Any, row: Any, shown: Display, values: Display) -> dict[str, str]:
    change = row.task == MULTI_TASK
    return {
        "seed": str(pair.seed),
        "method": values.number(pair.method_value, signed=change),
        "reference": values.number(pair.reference_value, signed=change),
        "improvement": shown.number(pair.improvement, signed=True),
    }


def _lines(pairs: pd.DataFrame, row: Any, values: Display) -> dict[str, Any]:
    """Return a drawing of paired lines from the reference's to the method's values: positions (px), a description."""
    ends = [*pairs.reference_value, *pairs.method_value]
    low, high = min(ends), max(ends)
    change = row.task == MULTI_TASK

    def at(value: float) -> str:
        return f"{_PAIRS_HIGH - _EDGE - (value - low) * (_PAIRS_HIGH - 2 * _EDGE) / (high - low or 1):.1f}"

    def text(value: float) -> str:
        return f"{values.number(value, signed=change)} {values.unit}".strip()

    return {
        "width": _PAIRS_WIDE,
        "height": _PAIRS_HIGH,
        "low": text(low),
        "high": text(high),
        "lines": [
            (at(pair.reference_value), at(pair.method_value), pair.seed, pair.improvement >= 0)
            for pair in rows_of(pairs)
        ],
        "words": f"The same {row.unit}s as lines from the value compared with to the claimed one: "
        + ", ".join(f"{text(pair.reference_value)} to {text(pair.method_value)}" for pair in rows_of(pairs)),
    }


def _picture(pairs: pd.DataFrame, row: Any, shown: Display) -> dict[str, Any]:
    """Return a drawing of ROPE, zero, Holm interval and a dot per seed or round: positions (px) and a description."""
    known = [*pairs.improvement, row.holm_low, row.holm_high, row.rope, -row.rope, 0.0]
    values = [float(value) for value in known if isfinite(value)]
    low, high = min(values), max(values)
    scale = (_WIDE - 2 * _EDGE) / (high - low or 1)

    def at(value: float) -> str:
        return f"{_EDGE + (value - low) * scale:.1f}"

    has_interval = isfinite(row.holm_low) and isfinite(row.holm_high)
    return {
        "width": _WIDE,
        "height": _HIGH,
        "rope": (at(-row.rope), f"{2 * row.rope * scale:.1f}"),
        "zero": at(0),
        "interval": (at(row.holm_low), at(row.holm_high)) if has_interval else None,
        "mean": at(row.improvement),
        "dots": [(at(pair.improvement), pair.seed) for pair in rows_of(pairs)],
        "words": f"Improvement on {counted(int(row.n), row.unit)}: "
        + ", ".join(shown.number(value, signed=True) for value in pairs.improvement)
        + f"; practically equal within {shown.number(row.rope)} {shown.unit}".rstrip(),
    }
