"""What a grid can conclude, known before any run: its families of claims, and its stopping rule."""

from typing import Any

import numpy as np
import pandas as pd

from mtcp.analysis.claims import judge
from mtcp.analysis.statistics import ALPHA, alpha_of_look
from mtcp.analysis.tables import RUN_COLUMNS, published_numbers
from mtcp.core.claims import load_claims
from mtcp.core.config import Params
from mtcp.core.project_files import CLAIMS
from mtcp.core.roles import with_roles
from mtcp.core.words import counted
from mtcp.store.plan import Plan


def families(plan: Plan, benchmark: str) -> list[dict[str, Any]]:
    """Return a row per family of claims that the plan can judge on `benchmark`: its claims and the seeds it needs."""
    planned = [{"method": run.method, "seed": run.seed, "status": "planned"} for run in plan.of(benchmark)]
    table = pd.DataFrame(planned, columns=RUN_COLUMNS).assign(value=np.nan)
    claims = load_claims(plan.root / CLAIMS)
    alpha, seeds = alpha_of_look(plan.project.params.looks), len(plan.project.params.seeds)
    config = with_roles(plan.project, benchmark)
    judged = judge(claims, table, benchmark, config, published_numbers(plan.root), alpha).claims
    return [
        {
            "benchmark": benchmark,
            "family": family,
            "claims": len(rows),
            "least_n": (least := int(rows.least_n.max())),
            "seeds": seeds,
            "can_conclude": "yes" if seeds >= least else f"needs {counted(least - seeds, 'more seed')}",
            "ids": ", ".join(rows.id),
        }
        for family, rows in judged[judged.n.notna()].groupby("family", sort=False)
    ]


def rule(params: Params) -> str:
    """Return the stopping rule of the grid in words, and the cost of adding seeds afterwards."""
    alpha, bound = alpha_of_look(params.looks), 2 * ALPHA * (1 - 0.5**params.looks)
    sentence = (
        f"Verdicts are computed once {_declared(len(params.seeds))}, at an error rate of {100 * alpha:g} % per family "
        "(Holm). "
    )
    if params.looks == 1:
        return sentence + (
            "Adding seeds (mtcp grid add-seeds) after a verdict was possible is optional stopping: each further look "
            "halves the error rate, so that over all looks fewer than 10 % of families get a false conclusion."
        )
    return sentence + (
        f"This is look {params.looks}: seeds were added after a verdict was possible, which is optional stopping. Each "
        f"further look halved the error rate, so that over all {params.looks} looks at most {100 * bound:g} % of "
        "families get a false conclusion."
    )


def _declared(seeds: int) -> str:
    if seeds == 1:
        return "the one declared seed of every method has run"
    if seeds == 2:
        return "both declared seeds of every method have run"
    return f"all {seeds} declared seeds of every method have run"
