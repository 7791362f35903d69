"""A run counts once: in pairs, in tables, and when they are verified."""

import pandas as pd
import pytest

from mtcp.analysis.comparisons import Measure, paired
from mtcp.analysis.recount import recount
from mtcp.core.errors import UserError

FINISHED = {"mtcp": frozenset({0, 1, 2}), "dwa": frozenset({0, 1})}


def tables(**changes: list) -> dict[str, pd.DataFrame]:
    rows = {
        "summary": [{"method": "mtcp", "n": 3}, {"method": "dwa", "n": 2}],
        "comparisons": [{"method": "dwa", "reference": "mtcp", "n": 2, "seeds": "0;1"}],
        "claims": [
            {"method": "mtcp", "reference": "dwa", "n": 2},
            {"method": "mtcp", "reference": "MTFormer (published)", "n": 3},
            {"method": "mtcp", "reference": "absent", "n": float("nan")},
            {"method": "absent", "reference": "absent too", "n": float("nan")},
        ],
    }
    return {name: pd.DataFrame(content) for name, content in (rows | changes).items()}


def test_tables_that_count_every_run_once_are_in_order() -> None:
    assert list(recount(tables(), FINISHED, {})) == []


@pytest.mark.parametrize(
    ("change", "where", "problem"),
    [
        ({"summary": [{"method": "dwa", "n": 9}]}, "summary.csv row 2, n", "is 9, and 2 distinct runs"),
        (
            {"claims": [{"method": "mtcp", "reference": "dwa", "n": 3}]},
            "claims.csv row 2, n",
            "is 3, and 2 distinct runs",
        ),
        (
            {"comparisons": [{"method": "dwa", "reference": "mtcp", "n": 2, "seeds": "0;0"}]},
            "comparisons.csv row 2, seeds",
            "names a seed twice: 0;0",
        ),
    ],
)
def test_a_number_that_stands_on_fewer_runs_than_it_says(change: dict, where: str, problem: str) -> None:
    ((found, said),) = recount(tables(**change), FINISHED, {})
    assert found == where
    assert problem in said


@pytest.mark.parametrize(("metric", "count"), [("seconds_per_step", 8), ("rmse", 3), ("parameters", 3)])
def test_rounds_stand_behind_measured_costs_and_behind_nothing_else(metric: str, count: int) -> None:
    rounds = {"mtcp": frozenset(range(8))}
    for n, wrong in ((count, 0), (count + 1, 1)):
        rows = [{"method": "mtcp", "metric": metric, "n": n}]
        assert len(list(recount(tables(summary=rows), FINISHED, rounds))) == wrong


def test_a_seed_with_two_numbers_makes_no_pair() -> None:
    row = {
        "environment": "cpu",
        "selection": "last",
        "output": "final",
        "task": "depth",
        "metric": "rmse",
        "value": 1.0,
    }
    table = pd.DataFrame([{**row, "method": method, "seed": 0} for method in ("mtcp", "mtcp", "dwa")])
    with pytest.raises(UserError, match="mtcp, seed 0 has two numbers for depth rmse"):
        paired(table, "dwa", "mtcp", Measure("depth", "rmse", False, 0.01))
