"""The verdicts of a report in words."""

from types import SimpleNamespace

import pandas as pd
import pytest

from mtcp.core.config import Params
from mtcp.report.verdicts import _picture, missing


@pytest.mark.parametrize(("n", "said"), [(1, "Improvement on 1 round: 0"), (2, "Improvement on 2 rounds: 0, 1")])
def test_one_round_is_no_plural(n: int, said: str) -> None:
    pairs = pd.DataFrame({"seed": range(n), "improvement": [float(place) for place in range(n)]})
    row = SimpleNamespace(n=float(n), unit="round", rope=1.0, holm_low=0.0, holm_high=1.0, improvement=0.0)
    shown = SimpleNamespace(number=lambda value, signed=False: f"{value:g}", unit="%")
    assert _picture(pairs, row, shown)["words"].startswith(said + ";")


@pytest.mark.parametrize(
    ("unit", "declared", "looked", "least", "command"),
    [
        ("round", 8, False, 8, "mtcp benchmark rooms --rounds 8 && snakemake --cores all"),
        # The grid declares enough seeds, and some have not run yet.
        ("seed", 8, False, 8, "snakemake --cores all"),
        ("seed", 5, False, 8, "mtcp grid add-seeds 3 && snakemake --cores all"),
        # Others of its families could conclude: after a look, 0.025 / 4 needs one seed more.
        ("seed", 7, True, 9, "mtcp grid add-seeds 2 && snakemake --cores all"),
    ],
)
def test_what_a_claim_needs_counts_open_runs_and_looks(
    unit: str, declared: int, looked: bool, least: int, command: str
) -> None:
    params = Params(benchmarks=["rooms"], methods=["mtcp"], seeds=list(range(declared)))
    row = SimpleNamespace(n=3.0, least_n=8.0, family_size=4.0, unit=unit, benchmark="rooms")
    assert missing(row, params, looked=looked) == {"least": least, "command": command, "look": looked}
    assert missing(SimpleNamespace(**{**vars(row), "n": 8.0}), params, looked=looked)["command"] == ""
