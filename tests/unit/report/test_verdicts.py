"""The verdicts of a report in words."""

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from mtcp.analysis.tables import write_tables
from mtcp.report.verdicts import _picture, missing
from mtcp.report.view import build_view


@pytest.mark.parametrize(("n", "said"), [(1, "Improvement on 1 round: 0"), (2, "Improvement on 2 rounds: 0, 1")])
def test_one_round_is_no_plural(n: int, said: str) -> None:
    pairs = pd.DataFrame({"seed": range(n), "improvement": [float(place) for place in range(n)]})
    row = SimpleNamespace(n=float(n), unit="round", rope=1.0, holm_low=0.0, holm_high=1.0, improvement=0.0)
    shown = SimpleNamespace(number=lambda value, signed=False: f"{value:g}", unit="%")
    assert _picture(pairs, row, shown)["words"].startswith(said + ";")


@pytest.mark.parametrize(
    ("metric", "reachable", "next_look", "least", "command"),
    [
        ("seconds_per_step", 8, None, 8, "mtcp benchmark rooms --rounds 8 && snakemake --cores all"),
        # The grid declares enough seeds, and some have not run yet.
        ("delta_m", 8, None, 8, "snakemake --cores all"),
        ("delta_m", 5, None, 8, "mtcp grid add-seeds 3 && snakemake --cores all"),
        # Others of its families could conclude: after a look, 0.025 / 4 needs one seed more.
        ("delta_m", 7, 2, 9, "mtcp grid add-seeds 2 && snakemake --cores all"),
    ],
)
def test_what_a_claim_needs_counts_open_runs_and_looks(
    metric: str, reachable: int, next_look: int | None, least: int, command: str
) -> None:
    row = SimpleNamespace(n=3.0, least_n=8.0, family_size=4.0, metric=metric, benchmark="rooms")
    found = {"least": least, "command": command, "look": next_look is not None}
    assert missing(row, reachable, next_look) == found
    assert missing(SimpleNamespace(**{**vars(row), "n": 8.0}), reachable, next_look)["command"] == ""


@pytest.mark.slow
@pytest.mark.parametrize(("status", "reachable"), [("diverged", 3), (None, 4)])
def test_an_open_run_is_still_to_come_and_a_diverged_one_is_not(store: Any, status: Any, reachable: int) -> None:
    for run in store.plan.runs:
        if (run.method, run.seed) != ("mtl_baseline", 3):
            store.write(run)
        elif status:
            store.write(run, status)
    write_tables(store.plan, "rooms", partial=status is None)
    groups = build_view(store.root, "rooms")["verdict_groups"]
    claims = [claim for group in groups for claim in group["claims"]]
    (claim,) = [claim for claim in claims if claim["text"].startswith("MT-CP is more accurate than a shared")]
    assert claim["n"] == 3
    assert claim["command"] == f"mtcp grid add-seeds {claim['least'] - reachable} && snakemake --cores all"
