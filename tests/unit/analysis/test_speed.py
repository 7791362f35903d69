"""Measured times stand in for the grid's own, with rounds in the place of seeds."""

import pandas as pd
import pytest
from made_up_store import measure, measure_all

from mtcp.analysis.claims import judge
from mtcp.analysis.speed import speed_table, with_measured, without_disturbed
from mtcp.analysis.tables import build_tables, published_numbers
from mtcp.core.claims import load_claims
from mtcp.core.plugins import PACKAGE_ROOT
from mtcp.core.project_files import CLAIMS, speed_file
from mtcp.store.records import RunRecord

pytestmark = pytest.mark.slow


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


def test_no_claim_is_judged_by_times_of_a_loaded_machine(done):
    run = done.plan.run("rooms", "mtcp", 0)
    cores = run.record().environment.cores
    for seed in range(4):
        path = done.plan.run("rooms", "mtcp", seed).run_path
        record = RunRecord.read(path)
        record.model_copy(update={"load": cores + (0.5 if seed else 0.0)}).write(path)
    tables = build_tables(done.plan, "rooms")
    claims = tables["claims"].set_index("id")
    loaded = "timed on a machine with more load than cores; `mtcp benchmark rooms` measures it apart"
    claim = claims.loc["quicker_to_train"]
    # Seed 0 alone had the machine to itself, and one pair cannot conclude.
    assert (claim.verdict, claim.n, claim.reason) == ("not run", 0, loaded)
    assert claims.loc["more_accurate_than_single_task"].n == 4  # accuracy does not depend on the load
    assert cost(tables["summary"], "mtcp", "seconds_per_step").n == 4

    RunRecord.read(run.run_path).model_copy(update={"load": cores + 1.0}).write(run.run_path)
    claim = build_tables(done.plan, "rooms")["claims"].set_index("id").loc["quicker_to_train"]
    assert claim.verdict == "not run"
    assert claim.reason == loaded
    measure_all(done)
    tables = build_tables(done.plan, "rooms")
    assert tables["claims"].set_index("id").loc["quicker_to_train"].n == 8
    rows = without_disturbed(tables["runs"], tables["provenance"])
    whole = rows[(rows.method == "mtcp") & (rows.metric == "train_seconds")]
    assert set(whole.reason) == {"timed on a machine with more load than cores"}, "no command measures it apart"


def test_times_of_enough_quiet_runs_are_judged_although_others_were_loaded(done):
    tables = build_tables(done.plan, "rooms")
    cores, few = tables["provenance"].cores.max(), tables["runs"].seed < 4
    runs = pd.concat(tables["runs"][few].assign(seed=tables["runs"].seed + 4 * copy) for copy in range(3))
    provenance = tables["provenance"].assign(load=0.0)
    provenance = pd.concat(provenance.assign(seed=provenance.seed + 4 * copy) for copy in range(3))
    rooms = done.plan.project.benchmark("rooms")
    for quiet, verdict in ((8, "equivalent"), (6, "not run")):
        load = (provenance.seed >= quiet) * (cores + 1.0)
        table = without_disturbed(runs, provenance.assign(load=load))
        claims = judge(load_claims(PACKAGE_ROOT / CLAIMS), table, "rooms", rooms, published_numbers(done.root))
        claim = claims.claims.set_index("id").loc["quicker_to_train"]
        assert (claim.verdict, claim.n) == (verdict, quiet if verdict == "equivalent" else 0)


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
