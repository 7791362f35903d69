"""Claims: the file's rules, and verdicts from numbers that are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mtcp.analysis.claims import judge
from mtcp.core.claims import Claim, load_claims
from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.run_config import TaskConfig

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = pd.DataFrame(
    [
        ["NYUD-v2", "semseg", "mIoU", "MTFormer", "Swin-S", 50.56, "somewhere"],
        ["NYUD-v2", "model", "params_M", "DeMT", "HRNet-18", 4.0, "somewhere"],
    ],
    columns=["dataset", "task", "metric", "method", "backbone", "value", "source"],
)


def table(improvements, task="multi_task", metric="delta_m"):
    rows = [
        {"method": method, "seed": seed, "environment": "cpu", "selection": "last", "output": "final", "task": task,
         "metric": metric, "value": value, "status": "finished"}
        for seed, change in enumerate(improvements)
        for method, value in (("single_task", 0.0), ("mtcp", change))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def verdicts(claims, runs, benchmark="rooms", **changes):
    config = Project(ROOT).benchmark(benchmark).model_copy(update=changes)
    return judge(claims, runs, benchmark, config, PUBLISHED).claims.set_index("id")


def claim(**changes):
    fields = {
        "id": "a",
        "text": "A.",
        "evidence": "abstract",
        "source": "s",
        "method": "mtcp",
        "reference": "single_task",
    }
    return Claim(**(fields | changes))


@pytest.mark.parametrize(
    ("improvements", "verdict", "reason"),
    [
        ([4.0, 4.1, 4.2, 3.9, 4.0, 4.1], "reproduced", "beyond the ROPE on the claimed side"),
        ([-4.0, -4.1, -4.2, -3.9, -4.0, -4.1], "contradicted", "beyond the ROPE on the other side"),
        ([0.1, -0.1, 0.2, -0.2, 0.1, 0.0], "equivalent", "inside the ROPE"),
        ([0.8, 1.4, 0.9, 1.5, 0.7, 1.2], "inconclusive", "reaches across the edge of the ROPE"),
        # Five seeds: even 5 of 5 gives p = 0.0625.
        ([4.0, 4.1, 4.2, 3.9, 4.0], "inconclusive", "only 5 paired seeds; at least 6 are needed to conclude"),
    ],
)
def test_verdicts(improvements, verdict, reason):
    row = verdicts([claim()], table(improvements)).loc["a"]
    assert (row.verdict, row.source) == (verdict, "s")
    assert row.improvement == pytest.approx(np.mean(improvements))
    assert row.reason.endswith(reason)


def test_delta_m_needs_the_baseline_among_the_methods():
    runs = table([4.0] * 6).replace({"method": {"single_task": "uncertainty"}})
    row = verdicts([claim(reference="uncertainty")], runs).loc["a"]
    assert row.reason == "single_task not among the methods of the grid (delta_m is relative to it)"


def test_a_method_is_compared_with_an_output_of_its_own():
    final = table([0.8, 0.81, 0.82, 0.8, 0.81, 0.82], "semseg", "miou")
    first = final.assign(output="aux1", value=final.value - 0.1)
    refines = claim(reference="mtcp", reference_output="aux1", measure="semseg")
    row = verdicts([refines], pd.concat([final, first])).loc["a"]
    assert (row.verdict, row.n, row.improvement) == ("reproduced", 6, pytest.approx(0.1))
    assert verdicts([refines], final).loc["a"].reason == "mtcp has no output aux1"


def test_a_run_that_counts_twice_is_refused():
    runs = table([4.0, 4.1])
    with pytest.raises(UserError, match=r"mtcp, seed 1 has two numbers for multi_task delta_m: a run counts once"):
        verdicts([claim()], pd.concat([runs, runs[(runs.method == "mtcp") & (runs.seed == 1)]]))


@pytest.mark.parametrize(("left_out", "verdict"), [(2, "reproduced"), (3, "not run")])
def test_seeds_left_out_decide_nothing_where_too_few_remain(left_out, verdict):
    runs = table([-4.0 - 0.1 * seed for seed in range(8)], "cost", "seconds_per_image").assign(reason=None)
    runs["value"] += 10
    disturbed = (runs.method == "mtcp") & (runs.seed < left_out)
    runs.loc[disturbed, ["value", "reason"]] = np.nan, "the machine was busy"
    # The same lack in another quantity, or of another method, is no reason.
    others = runs.loc[disturbed].assign(reason="not this")
    runs = pd.concat([runs, others.assign(metric="train_seconds"), others.assign(method="uncertainty")])
    row = verdicts([claim(measure="seconds_per_image")], runs).loc["a"]
    assert (row.verdict, row.n) == ((verdict, 8 - left_out) if verdict == "reproduced" else (verdict, 0))
    if not row.n:
        assert (row.reason, row.environments) == ("the machine was busy", "")


def test_more_claims_ask_for_more_seeds():
    six = table([4.0, 4.1, 4.2, 3.9, 4.0, 4.1])
    rows = verdicts([claim(), claim(id="b"), claim(id="c", method="uncertainty")], six)
    assert rows.loc["a", "verdict"] == "inconclusive"
    assert rows.loc["a", "least_n"] == 7
    assert rows.loc["c", "verdict"] == "not run"
    assert rows.loc["c", "reason"] == "uncertainty not among the methods of the grid"


def test_a_planned_method_without_a_finished_run_stays_in_the_family():
    runs = table([4.0] * 6)
    runs.loc[runs.method == "mtcp", ["value", "status"]] = np.nan, "missing"
    row = verdicts([claim()], runs).loc["a"]
    assert (row.verdict, row.reason, row.n) == ("not run", "no run of mtcp has finished", 0)


def test_no_verdict_before_all_declared_seeds_have_run():
    """Eight of ten seeds would be enough; judging at eight, nine and ten is more than one look."""
    runs = table([4.0, 4.1, 4.2, 3.9, 4.0, 4.1, 4.2, 3.9])
    assert verdicts([claim()], runs).loc["a", "verdict"] == "reproduced"
    still = runs[runs.seed == 0].assign(seed=8, task="", metric="", value=np.nan, status="missing")
    row = verdicts([claim()], pd.concat([runs, still])).loc["a"]
    assert (row.verdict, row.n) == ("inconclusive", 8)
    assert row.reason == "2 runs of the grid not done; verdicts are computed once all have run"
    diverged = still.assign(status="diverged")
    assert verdicts([claim()], pd.concat([runs, diverged])).loc["a", "verdict"] == "reproduced"


def test_parameters_are_judged_at_any_number_of_seeds():
    runs = table([0.0], task="cost", metric="parameters")
    runs.loc[runs.method == "mtcp", "value"] = 1e6
    runs.loc[runs.method == "single_task", "value"] = 4e6
    row = verdicts([claim(measure="parameters")], runs).loc["a"]
    assert (row.verdict, row.improvement) == ("reproduced", 75.0)
    still = runs[:1].assign(
        seed=1, task="", metric="", value=np.nan, status="missing"
    )  # which changes no number of parameters
    assert verdicts([claim(measure="parameters")], pd.concat([runs, still])).loc["a", "verdict"] == "reproduced"


def test_nothing_is_judged_in_per_cent_of_a_cost_of_zero():
    runs = table([0.0] * 6, task="cost", metric="parameters")
    runs.loc[runs.method == "mtcp", "value"] = 1e6
    row = verdicts([claim(measure="parameters")], runs).loc["a"]
    assert (row.verdict, row.n) == ("not run", 0)
    assert row.reason == "parameters of single_task is 0, and costs are compared in per cent of it"


def test_a_cost_is_compared_with_a_published_one_in_per_cent():
    published = {"dataset": "NYUD-v2", "task": "model", "metric": "params_M", "method": "DeMT", "scale": 1e6}
    runs = table([0.0], task="cost", metric="parameters").assign(value=3e6)
    row = verdicts([claim(reference=None, published=published, measure="parameters")], runs, rendered=None).loc["a"]
    assert (row.verdict, row.improvement) == ("reproduced", pytest.approx(25.0))


def test_an_absolute_claim_is_never_judged_on_a_rendered_benchmark():
    published = {"dataset": "NYUD-v2", "task": "semseg", "metric": "mIoU", "method": "MTFormer", "scale": 0.01}
    absolute = claim(reference=None, published=published, measure="semseg")
    runs = table([0.60, 0.61, 0.60, 0.62, 0.61, 0.60], task="semseg", metric="miou")
    row = verdicts([absolute], runs).loc["a"]
    assert row.verdict == "not run"
    assert "rendered benchmark cannot judge" in row.reason
    real = verdicts([absolute], runs, rendered=None).loc["a"]
    assert (real.verdict, real.improvement) == ("reproduced", pytest.approx(0.6066667 - 0.5056))
    config = Project(ROOT).benchmark("rooms").model_copy(update={"rendered": None})
    pairs = judge([absolute], runs, "rooms", config, PUBLISHED).pairs
    assert pairs[pairs.claim == "a"].seed.tolist() == [0, 1, 2, 3, 4, 5]
    assert pairs.method_value.tolist() == [0.60, 0.61, 0.60, 0.62, 0.61, 0.60]
    assert pairs.reference_value.tolist() == pytest.approx([0.5056] * 6)
    never = verdicts([absolute], runs.assign(value=np.nan), rendered=None).loc["a"]
    assert (never.verdict, never.reason) == ("not run", "no run of mtcp has finished")
    unknown = claim(reference=None, published=published | {"method": "MT-CP"}, measure="semseg")
    assert verdicts([unknown], runs, rendered=None).loc["a"].reason.startswith("results/published.csv has no rows")


def test_a_claim_on_a_task_that_the_benchmark_lacks():
    assert verdicts([claim(measure="sal")], table([1.0])).loc["a"].reason == "rooms has no sal"


def test_a_claim_on_another_metric_of_a_task_under_a_name_of_ones_own():
    own = {"height": TaskConfig(kind="regression", rope=2.0, unit="cm")}
    runs = table([-3.0 - 0.1 * seed for seed in range(8)], "height", "abs_error")
    found = verdicts([claim(measure="height", metric="abs_error")], runs, tasks=own).loc["a"]
    assert (found.verdict, found.unit, found.rope) == ("reproduced", "cm", 2.0)


@pytest.mark.parametrize(
    ("metric", "chosen", "rope"),
    [
        ("rmse_capped", {}, 0.02),
        ("rel_error", {}, 0.005),
        ("within_1_25", {}, 0.5),
        ("rel_error", {"rope": 0.03}, 0.03),
    ],
)
def test_practically_equal_is_said_in_the_metrics_own_unit(metric, chosen, rope):
    """A ROPE in metres says nothing about relative errors: 0.02 m would call a tenth of 0.15 equivalent."""
    runs = table([-0.0145 - 0.0001 * seed for seed in range(8)], "depth", metric)
    found = verdicts([claim(measure="depth", metric=metric, **chosen)], runs, tasks={"depth": TaskConfig(rope=0.02)})
    assert found.loc["a"].rope == rope
    if metric == "rel_error":
        assert found.loc["a"].verdict == ("equivalent" if chosen else "reproduced")


def test_a_unit_of_the_sets_own_needs_a_rope():
    own = {"depth": TaskConfig(unit="px", metric="rel_error", rope=0.01)}
    runs = table([-1.0] * 8, "depth", "abs_error")
    with pytest.raises(UserError, match=r"claim 'a' is about abs_error in px.* give the claim a `rope`"):
        verdicts([claim(measure="depth", metric="abs_error")], runs, tasks=own)


def test_pairs_across_environments_are_marked():
    runs = table([4.0, 4.1, 4.2, 3.9, 4.0, 4.1])
    assert verdicts([claim()], runs).loc["a"].environments == "same"
    runs.loc[runs.method == "mtcp", "environment"] = "cuda"
    assert verdicts([claim()], runs).loc["a"].environments == "mixed"
    runs["environment"] = "cpu against cuda"
    assert verdicts([claim()], runs).loc["a"].environments == "mixed", "both relative to a baseline elsewhere"


def test_the_projects_claims_name_existing_methods():
    methods = Project(ROOT).methods
    for each in load_claims(ROOT / "config/claims.yaml"):
        assert each.method in methods
        assert each.reference is None or each.reference in methods
        assert each.evidence != "paper"


def test_published_numbers_that_claims_need_are_there_once():
    published = pd.read_csv(ROOT / "results/published.csv")
    for each in load_claims(ROOT / "config/claims.yaml"):
        if each.published:
            number = each.published
            found = published[
                (published.dataset == number.dataset) & (published.task == number.task)
                & (published.metric == number.metric) & (published.method == number.method)
            ]  # fmt: skip
            assert len(found) == 1, each.id
    assert published.source.notna().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evidence": "hearsay"}, "claims.yaml, line 2, entry 1, key 'evidence'"),
        ({"reference": None}, "give either `reference`"),
        ({"unknown": 1}, "entry 1, key 'unknown'"),
        ({"id": "Not A Name"}, "entry 1, key 'id'"),
        ({"metric": "rmse"}, "`metric` chooses among those of a task, and `measure` is delta_m"),
        ({"measure": "gflops", "metric": "rmse"}, "`metric` chooses among those of a task, and `measure` is gflops"),
        ({"measure": "seconds_per_image", "reference_output": "aux1"}, "all outputs of a network have one"),
        ({"reference": "mtcp"}, "`method` and `reference` are the same"),
        ({"source": None}, "`source` is missing: say where in the abstract"),
        ({"source": " "}, "`source` is missing: say where in the abstract"),
    ],
)
def test_a_wrong_claim_is_one_sentence(tmp_path, change, message):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([claim().model_dump(exclude_none=True) | change]))
    with pytest.raises(UserError, match=message):
        load_claims(path)


def test_a_claim_of_ones_own_needs_no_source():
    row = verdicts([claim(evidence="own", source=None)], table([4.0] * 6)).loc["a"]
    assert (row.evidence, row.source, row.verdict) == ("own", "", "reproduced")


def test_claims_must_be_a_list_of_unique_ids(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text("a: 1\n")
    with pytest.raises(UserError, match="must hold a list"):
        load_claims(path)
    path.write_text(yaml.safe_dump([claim().model_dump(exclude_none=True)] * 2))
    with pytest.raises(UserError, match="used twice"):
        load_claims(path)
    path.write_text("- [unclosed\n")
    with pytest.raises(UserError, match="no valid YAML"):
        load_claims(path)
