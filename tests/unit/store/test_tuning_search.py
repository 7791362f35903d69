import math
import statistics

import pytest
from pydantic import ValidationError

from mtcp.core.config import Budget, Method
from mtcp.store.tuning_search import Configuration, best, configurations

TASKS = ("semseg", "depth")
BUDGET = Budget(configurations=200, learning_rate=(1e-4, 1e-2), weight_decay=(1e-6, 1e-2))
KAPPA = {"kappa": (0.5, 8.0)}


def test_the_first_is_the_methods_own():
    assert configurations(BUDGET, "rooms", "mtcp", KAPPA, TASKS)[0] == Configuration({}, {})


def test_every_method_gets_the_same_number_within_the_ranges():
    for method, search in (("mtcp", KAPPA), ("fixed_tuned", {"weights": (0.1, 10.0)}), ("mtcp_equal", {})):
        tried = configurations(BUDGET, "rooms", method, search, TASKS)
        assert len(tried) == 200
        assert all(set(trial.scheme) == set(search) for trial in tried[1:])
        assert all(1e-4 <= trial.training["learning_rate"] <= 1e-2 for trial in tried[1:])
        assert all(1e-6 <= trial.training["weight_decay"] <= 1e-2 for trial in tried[1:])


def test_log_uniform():
    rates = [math.log10(t.training["learning_rate"]) for t in configurations(BUDGET, "r", "m", KAPPA, TASKS)[1:]]
    assert statistics.mean(rates) == pytest.approx(-3, abs=0.15)
    assert statistics.stdev(rates) == pytest.approx(2 / math.sqrt(12), abs=0.1)


def test_fixed_draws_one_weight_a_task():
    trial = configurations(BUDGET, "rooms", "fixed_tuned", {"weights": (0.1, 10.0)}, TASKS)[1]
    assert set(trial.scheme["weights"]) == set(TASKS)
    assert trial.scheme["weights"]["semseg"] != trial.scheme["weights"]["depth"]


def test_a_larger_budget_keeps_the_trials_of_a_smaller_one():
    small = BUDGET.model_copy(update={"configurations": 5})
    assert (
        configurations(small, "rooms", "mtcp", KAPPA, TASKS)
        == configurations(BUDGET, "rooms", "mtcp", KAPPA, TASKS)[:5]
    )


def test_the_order_of_the_ranges_in_the_file_does_not_matter():
    ranges = {"kappa": (0.5, 8.0), "alpha": (0.1, 2.0)}
    turned = dict(reversed(ranges.items()))
    assert configurations(BUDGET, "rooms", "m", ranges, TASKS) == configurations(BUDGET, "rooms", "m", turned, TASKS)


def test_streams_belong_to_method_and_benchmark():
    drawn = [
        configurations(BUDGET, benchmark, method, KAPPA, TASKS)[1]
        for benchmark in ("rooms", "people")
        for method in ("mtcp", "dwa")
    ]
    assert len({repr(trial) for trial in drawn}) == 4
    assert drawn[0] == configurations(BUDGET, "rooms", "mtcp", KAPPA, TASKS)[1]


@pytest.mark.parametrize("limits", [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_ranges_must_be_positive_and_ordered(limits):
    with pytest.raises(ValidationError, match="0 < low <= high"):
        Budget(configurations=2, learning_rate=limits, weight_decay=(1e-6, 1e-2))
    with pytest.raises(ValidationError, match="0 < low <= high"):
        Method(label="Mine", family="scheme", architecture={"name": "mtcp"}, search={"kappa": limits})


def test_best_is_relative_to_the_first_so_that_no_unit_counts():
    # Second: 0.5 + 1.2 = 1.7; third: 1.1 + 0.5 = 1.6, although its first task's loss is the largest.
    validation = [{"a": 100.0, "b": 0.1}, {"a": 50.0, "b": 0.12}, {"a": 110.0, "b": 0.05}]
    assert best(validation) == 2
    # 2 and 0.5 + 1.7 relative to the first; relative to the second it would be 2.6 and 2.
    assert best([{"a": 1.0, "b": 1.0}, {"a": 0.5, "b": 1.7}]) == 0


def test_best_passes_over_what_diverged():
    assert best([None, {"a": 2.0}, {"a": 1.0}, None]) == 2
    assert best([{"a": 1.0}, {"a": 1.0}]) == 0
    assert best([{"a": 1.0, "b": math.inf}, {"a": 0.9, "b": 2.0}, {"a": 0.95, "b": 1.0}]) == 2
    assert best([{"a": math.nan}]) is None


def test_where_all_diverged_none_is_best():
    assert best([None, None]) is None
