"""The verdicts of a report in words."""

from types import SimpleNamespace

import pandas as pd
import pytest

from mtcp.report.verdicts import Further, Grid, _picture


@pytest.mark.parametrize(("n", "said"), [(1, "Improvement on 1 round: 0"), (2, "Improvement on 2 rounds: 0, 1")])
def test_one_round_is_no_plural(n: int, said: str) -> None:
    pairs = pd.DataFrame({"seed": range(n), "improvement": [float(place) for place in range(n)]})
    row = SimpleNamespace(n=float(n), unit="round", rope=1.0, holm_low=0.0, holm_high=1.0, improvement=0.0)
    shown = SimpleNamespace(number=lambda value, signed=False: f"{value:g}", unit="%")
    assert _picture(pairs, row, shown)["words"].startswith(said + ";")


@pytest.mark.parametrize(
    ("unit", "declared", "looked", "found"),
    [
        ("round", 8, False, Further(8, "mtcp benchmark rooms --rounds 8 && snakemake --cores all")),
        # The grid declares enough seeds, and some have not run yet.
        ("seed", 8, False, Further(8, "snakemake --cores all")),
        ("seed", 5, False, Further(8, "mtcp grid add-seeds 3 && snakemake --cores all")),
        # Others of its families could conclude: after a look, 0.025 / 4 needs one seed more.
        ("seed", 7, True, Further(9, "mtcp grid add-seeds 2 && snakemake --cores all", True)),
    ],
)
def test_what_a_claim_needs_counts_open_runs_and_looks(unit: str, declared: int, looked: bool, found: Further) -> None:
    row = SimpleNamespace(least_n=8.0, family_size=4.0, alpha=0.05, unit=unit, benchmark="rooms")
    assert Grid(declared, looked).further(row) == found
