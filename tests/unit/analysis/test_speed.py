"""Measured times stand in for the grid's own, with rounds in the place of seeds."""

import pytest
from made_up_store import measure, measure_all

from mtcp.analysis.speed import speed_table, with_measured
from mtcp.analysis.tables import build_tables
from mtcp.core.project_files import speed_file


def cost(summary, method, metric):
    return summary[(summary.method == method) & (summary.metric == metric)].iloc[0]


def test_without_a_measurement_times_are_the_grids_own(done):
    tables = build_tables(done.plan, "rooms")
    own = cost(tables["summary"], "mtcp", "seconds_per_step")
    assert tables["speed"].empty and own.n == 4 and own["mean"] == pytest.approx(0.0615)


def test_measured_times_make_summary_and_claims(done):
    measure_all(done)
    tables = build_tables(done.plan, "rooms")
    step = cost(tables["summary"], "single_task", "seconds_per_step")
    assert step.n == 8 and step["mean"] == pytest.approx(0.1035)
    assert cost(tables["summary"], "mtcp", "seconds_per_step")["mean"] == pytest.approx(3 * 0.1035)
    claim = tables["claims"].set_index("id").loc["quicker_to_train"]
    assert claim.verdict == "contradicted" and claim.n == 8 and claim.improvement == pytest.approx(-200)
    # Runs stay what they were, and ranks do not mistake rounds for seeds.
    own = tables["runs"][(tables["runs"].metric == "seconds_per_step")]
    assert set(own.seed) == {0, 1, 2, 3}
    assert (tables["summary"]["rank"].dropna() >= 1).any()


def test_the_stamp_of_tables_follows_the_measurement(done):
    before = done.plan.stamps("rooms").tables
    measure(done, "mtcp")
    assert done.plan.stamps("rooms").tables != before
    speed_file(done.root, "rooms", "mtcp").unlink()
    assert done.plan.stamps("rooms").tables == before


def test_a_method_without_runs_gets_no_row(done):
    record = measure(done, "mtcp")
    runs = build_tables(done.plan, "rooms")["runs"]
    rest = runs[runs.method != "mtcp"]
    assert with_measured(rest, speed_table([record])).equals(rest.reset_index(drop=True))
