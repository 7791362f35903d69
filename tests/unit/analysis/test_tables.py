"""Tables from a made-up run store: every number can be recomputed by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from made_up_store import ENVIRONMENT, make_store

from mtcp.analysis.comparisons import delta_m_rows, measures, paired
from mtcp.analysis.paper_tables import paper_tables
from mtcp.analysis.tables import build_tables, metrics_tree, read_table, summarise, to_csv, write_metrics, write_tables
from mtcp.core.errors import UserError
from mtcp.core.files import read_record, write_record, write_text
from mtcp.core.measures import COSTS
from mtcp.core.run_config import TaskConfig

pytestmark = pytest.mark.slow


def value(table, **where):
    rows = table
    for column, wanted in where.items():
        rows = rows[rows[column] == wanted]
    assert len(rows) == 1, f"{len(rows)} rows for {where}"
    return rows.iloc[0]


def primary(table, **where):
    return value(table, selection="last", output="final", **where)


def test_runs_hold_every_metric_of_every_run(done):
    runs = build_tables(done.plan, "rooms")["runs"]
    run = done.plan.run("rooms", "mtcp", 3)
    written = read_record(run.metrics_path)["metrics"]["last"]["final"]["depth"]["rmse"]
    row = primary(runs, method="mtcp", seed=3, task="depth", metric="rmse")
    assert (row.value, row.train_key, row.status) == (written, run.train_key, "finished")
    costs = runs[(runs.task == "cost") & (runs.method == "mtcp") & (runs.seed == 0)]
    assert set(costs.metric) == set(COSTS)
    assert len(runs) == 7 * 4 * (3 * 15 + 2 + len(COSTS))  # final twice, aux1, the truth's coherence


def test_delta_m_is_the_mean_signed_change_of_the_same_seed(done):
    tables = build_tables(done.plan, "rooms")
    runs, change = tables["runs"], tables["multi_task"]
    total = 0
    for task, metric, sign in (
        ("semseg", "miou", 1),
        ("depth", "rmse", -1),
        ("normals", "mean", -1),
        ("edge", "ods_f", 1),
    ):
        own, base = (primary(runs, method=m, seed=2, task=task, metric=metric).value for m in ("mtcp", "single_task"))
        total += sign * 100 * (own - base) / base / 4
    assert primary(change, method="mtcp", seed=2, metric="delta_m").value == pytest.approx(total)
    assert (change[(change.method == "single_task") & (change.output == "final")].value == 0).all()


def test_outputs_are_compared_with_the_baselines_final_one_and_coherence_has_its_own_change(done):
    tables = build_tables(done.plan, "rooms")
    own = tables["multi_task"]
    own = (
        own[(own.method == "mtcp") & (own.seed == 1) & (own.selection == "last")].set_index(["output", "metric"]).value
    )
    assert own["aux1", "delta_m"] != own["final", "delta_m"]
    runs = tables["runs"]
    total = 0
    for metric, sign in (("depth_normals_angle", -1), ("edge_boundary_f", 1)):
        ours, base = (
            primary(runs, method=m, seed=1, task="coherence", metric=metric).value for m in ("mtcp", "single_task")
        )
        total += sign * 100 * (ours - base) / base / 2
    assert own["final", "delta_coherence"] == pytest.approx(total)
    assert "truth" not in own.index.get_level_values("output")
    best = tables["methods"].set_index("method").wins
    assert best.sum() == 4
    assert best.trivial_prior == 0


def test_pairs_hold_the_seeds_behind_every_verdict(done):
    tables = build_tables(done.plan, "rooms")
    claims, pairs = tables["claims"].set_index("id"), tables["pairs"]
    own = pairs[pairs.claim == "more_accurate_than_single_task"]
    assert own.seed.tolist() == [0, 1, 2, 3]
    assert own.improvement.mean() == pytest.approx(claims.loc["more_accurate_than_single_task", "improvement"])
    assert (own.method_value - own.reference_value).to_numpy() == pytest.approx(own.improvement.to_numpy())
    refined = claims.loc["trace_back_refines"]
    assert (refined.n, refined.family, refined.family_size) == (4, "refinement", 2)
    assert claims.loc["last_step_refines", "reason"] == "mtcp has no output aux2"
    assert claims.loc["trace_back_helps", "reason"] == "mtcp_no_trace_back not among the methods of the grid"


def test_other_definitions_of_delta_m_have_their_own_names(done):
    change = build_tables(done.plan, "rooms")["multi_task"]
    own = (
        change[
            (change.method == "mtcp") & (change.seed == 0) & (change.selection == "last") & (change.output == "final")
        ]
        .set_index("metric")
        .value
    )
    assert set(own.index) == {"delta_m", "delta_m_per_metric", "delta_m_pooled", "delta_coherence"}
    # The further metrics are the primary ones times 0.9, so each task's relative changes are equal, but for the
    # shares of normals, where more is better.
    assert own["delta_m_per_metric"] < own["delta_m"]


def test_summary_has_mean_spread_interval_and_ranks(done):
    tables = build_tables(done.plan, "rooms")
    runs, summary = tables["runs"], tables["summary"]
    values = runs[
        (runs.method == "mtcp") & (runs.metric == "miou") & (runs.selection == "last") & (runs.output == "final")
    ].value
    row = primary(summary, method="mtcp", task="semseg", metric="miou")
    assert (row.n, row["mean"], row.sd) == (4, pytest.approx(values.mean()), pytest.approx(values.std(ddof=1)))
    assert row.low == pytest.approx(values.mean() - 3.182446 * values.std(ddof=1) / 2)
    ranked = summary[(summary.metric == "delta_m") & (summary.selection == "last") & (summary.output == "final")]
    ranked = ranked.set_index("method")
    assert ranked.loc["mtcp", "rank"] == 1
    assert pd.isna(ranked.loc["trivial_prior", "rank"])
    assert pd.isna(ranked.loc["mtcp_no_cfm", "rank"])
    assert set(ranked["rank_ablation"].dropna()) == {1, 2, 3}
    depth = summary[(summary.metric == "rmse") & (summary.selection == "last")].set_index("method")
    assert depth.loc[depth["rank"] == 1, "mean"].item() == depth.loc[depth["rank"].notna(), "mean"].min()


def test_comparisons_are_paired_and_oriented(done):
    tables = build_tables(done.plan, "rooms")
    row = value(tables["comparisons"], family="mtcp/depth", method="single_task")
    runs = tables["runs"]
    own, other = (
        runs[(runs.method == m) & (runs.metric == "rmse") & (runs.selection == "last") & (runs.output == "final")]
        .set_index("seed").value
        for m in ("single_task", "mtcp")
    )  # fmt: skip
    assert row.improvement == pytest.approx((other - own).mean())  # lower is better: the sign turns
    assert (row.n, row.seeds, row.environments) == (4, "0;1;2;3", "same")
    assert row.family_size == 5  # every method but the reference and the trivial baseline
    assert row.p == 2 / 2**4


def test_a_diverged_seed_enters_no_mean_and_keeps_its_row(done):
    run = done.plan.run("rooms", "mtcp", 3)
    done.write(run, "diverged")
    run.metrics_path.unlink()
    tables = build_tables(done.plan, "rooms")
    row = value(tables["runs"], method="mtcp", seed=3)
    assert (row.status, row.reason) == ("diverged", "loss_depth is not finite at step 12")
    assert np.isnan(row.value)
    summary = primary(tables["summary"], method="mtcp", task="semseg", metric="miou")
    assert summary.n == 3
    assert pd.isna(summary["rank"])  # no rival of methods with all seeds
    compared = value(tables["comparisons"], family="mtcp/delta_m", method="single_task")
    assert (compared.n, compared.seeds) == (3, "0;1;2")
    assert value(tables["methods"], method="mtcp").diverged == 1


def test_a_diverged_reference_takes_its_seed_from_delta_m(done):
    done.write(done.plan.run("rooms", "single_task", 0), "diverged")
    change = build_tables(done.plan, "rooms")["multi_task"]
    assert 0 not in set(change.seed)


def test_missing_runs_need_partial_and_are_marked(done):
    run = done.plan.run("rooms", "uncertainty", 1)
    run.run_path.unlink()
    with pytest.raises(
        UserError, match=r"1 of 28 runs of rooms not done \(rooms/uncertainty/seed1 is missing\).*--partial"
    ):
        build_tables(done.plan, "rooms")
    tables = build_tables(done.plan, "rooms", partial=True)
    row = value(tables["runs"], method="uncertainty", seed=1)
    assert (row.status, row.reason) == ("missing", "the run is missing")
    assert value(tables["methods"], method="uncertainty").open == 1


def test_partial_tables_conclude_nothing(tmp_path):
    made = make_store(tmp_path, range(9))
    for run in made.plan.runs:
        if run.seed < 8:
            made.write(run)
    tables = build_tables(made.plan, "rooms", partial=True)
    assert set(tables["comparisons"].conclusion) == {"inconclusive"}
    assert set(tables["claims"].verdict) == {"inconclusive", "not run"}
    for run in made.plan.runs:
        made.write(run)
    tables = build_tables(made.plan, "rooms")
    assert set(tables["comparisons"].conclusion) > {"inconclusive"}
    assert "reproduced" in set(tables["claims"].verdict)


def test_partial_tables_of_an_empty_store(store):
    tables = build_tables(store.plan, "rooms", partial=True)
    assert (tables["runs"].status == "missing").all()
    assert set(tables["claims"].verdict) == {"not run"}
    assert tables["summary"].empty


def test_trained_but_not_evaluated_is_not_done(done):
    done.plan.run("rooms", "mtcp", 0).metrics_path.unlink()
    with pytest.raises(UserError, match="rooms/mtcp/seed0 is not evaluated"):
        build_tables(done.plan, "rooms")


def test_flags_and_non_finite_predictions_reach_the_method(done):
    run = done.plan.run("rooms", "mtcp_no_cfm", 2)
    done.write(run, flags=("negative_weights",))
    evaluation = read_record(run.metrics_path)
    write_record(run.metrics_path, evaluation | {"non_finite": {"semseg": 0, "depth": 3}})
    methods = build_tables(done.plan, "rooms")["methods"]
    assert value(methods, method="mtcp_no_cfm").loc["flags"] == "negative_weights;non_finite_predictions"


def test_metrics_of_another_run_are_refused(done):
    first, second = done.plan.run("rooms", "mtcp", 0), done.plan.run("rooms", "mtcp", 1)
    first.metrics_path.write_bytes(second.metrics_path.read_bytes())
    with pytest.raises(UserError, match="does not carry its own keys"):
        build_tables(done.plan, "rooms")


def test_pairs_across_environments_are_marked(done):
    other = ENVIRONMENT | {"environment_class": "cuda-torch2.11"}
    done.write(done.plan.run("rooms", "mtl_baseline", 2), environment=other)
    compared = build_tables(done.plan, "rooms")["comparisons"]
    assert value(compared, family="mtcp/delta_m", method="mtl_baseline").environments == "mixed"
    assert value(compared, family="mtcp/delta_m", method="uncertainty").environments == "same"


def test_delta_m_across_environments_is_marked_through_its_baseline(done):
    done.write(done.plan.run("rooms", "single_task", 2), environment=ENVIRONMENT | {"environment_class": "other"})
    compared = build_tables(done.plan, "rooms")["comparisons"]
    assert value(compared, family="single_task/delta_m", method="mtcp").environments == "mixed"


def test_costs_compare_in_per_cent_of_the_reference(done):
    tables = build_tables(done.plan, "rooms")
    known = measures(done.plan.project.benchmark("rooms"))
    pairs = paired(tables["runs"], "mtcp", "single_task", known["parameters"])
    own = 1_500_000 + 10 * 3
    assert pairs.improvements == pytest.approx([100 * (4_000_000 - own) / 4_000_000] * 4)


def test_history_and_curves(done):
    tables = build_tables(done.plan, "rooms")
    row = value(tables["history"], method="mtcp", seed=1, epoch=0, column="loss_semseg")
    assert row.value == pytest.approx(2.05)
    curve = value(tables["curves"], method="mtcp", column="loss_semseg", epoch=0)
    assert (curve.n, curve["mean"], curve.least, curve.greatest) == (4, pytest.approx(2.075), 2.0, pytest.approx(2.15))


def test_written_tables_are_the_same_bytes_twice(done):
    paths = write_tables(done.plan, "rooms")
    first = [path.read_bytes() for path in paths]
    again = write_tables(done.plan, "rooms")
    assert [path.name for path in paths] == [path.name for path in again]
    assert {path.name for path in paths} >= {"runs.csv", "history.csv", "summary.csv", "comparisons.csv", "claims.csv"}
    assert all(one == other.read_bytes() for one, other in zip(first, again, strict=True))
    assert "\r" not in paths[0].read_text()


def test_means_for_dvc_are_a_file_for_each_method(done):
    write_tables(done.plan, "rooms")
    left = done.root / "results/tables/metrics/rooms/left_the_grid.json"
    write_text(left, "{}")
    *files, bars = write_metrics(done.plan)
    assert not left.exists() and bars.name == "delta_m.csv"
    assert [path.relative_to(left.parent).stem for path in files] == list(done.plan.project.params.methods)
    means = {path.stem: json.loads(path.read_text()) for path in files}
    summary = read_table(done.root / "results/tables/rooms/summary.csv")
    expected = primary(summary, method="mtcp", task="depth", metric="rmse")["mean"]
    assert means["mtcp"]["depth_rmse"] == pytest.approx(expected, rel=1e-5)
    assert means["single_task"]["delta_m"] == 0
    plotted = read_table(bars).set_index("method").delta_m
    assert plotted.to_dict() == {f"rooms {name}": own["delta_m"] for name, own in means.items() if "delta_m" in own}


def test_a_project_without_claims_has_tables_without_verdicts(done):
    (done.root / "config/claims.yaml").unlink()
    tables = build_tables(done.plan, "rooms")
    assert len(tables["claims"]) == len(tables["pairs"]) == 0
    assert len(tables["comparisons"])


def test_tables_of_an_unplanned_benchmark(store):
    with pytest.raises(UserError, match=r"params.yaml plans no run of benchmark 'people' \(planned: rooms\)"):
        build_tables(store.plan, "people")


def test_published_numbers_need_a_source(done):
    path = done.root / "results/published.csv"
    path.write_text("dataset,task,metric,method,backbone,value,source\nNYUD-v2,semseg,mIoU,X,Y,40,\n")
    with pytest.raises(UserError, match=r"published.csv, line 2: source missing: every number needs all columns"):
        build_tables(done.plan, "rooms")


def test_damaged_history_is_named(done):
    path = done.plan.run("rooms", "mtcp", 0).directory / "history.csv"
    for content in (b"", b"epoch,loss_depth\n0,abc\n", b"epoch,loss_depth\n0\n", b"loss_depth\n1\n"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"seed0-.*history.csv is not the file that was written"):
            build_tables(done.plan, "rooms")


def test_missing_table_says_how_to_make_it(tmp_path):
    with pytest.raises(UserError, match="make the tables first with `mtcp tables rooms`"):
        read_table(tmp_path / "rooms/summary.csv")


def test_keys_stay_text(tmp_path):
    keys = ["0000000000000003", "12345678e0123456"]
    (tmp_path / "a.csv").write_text(to_csv(pd.DataFrame({"train_key": keys, "value": [1.5, 2.0]})))
    assert read_table(tmp_path / "a.csv").train_key.tolist() == keys


def test_csv_keeps_nine_digits():
    assert to_csv(pd.DataFrame({"a": [1 / 3], "b": [None]})) == "a,b\n0.333333333,\n"


def test_delta_c_averages_the_same_metrics_of_every_run_or_is_not_there(done):
    runs = build_tables(done.plan, "rooms")["runs"]
    config = done.plan.project.benchmark("rooms")
    one = (runs.method == "mtcp") & (runs.seed == 0) & (runs.metric == "edge_boundary_f") & (runs.output == "final")
    change = delta_m_rows(runs.assign(value=runs.value.mask(one)), config)
    own = change[(change.metric == "delta_coherence") & (change.method == "mtcp") & (change.output == "final")]
    assert set(own.seed) == {1, 2, 3}


def test_errors_of_depth_are_averaged_where_one_of_them_is_primary(done):
    runs = build_tables(done.plan, "rooms")["runs"]
    config = done.plan.project.benchmark("rooms")
    errors = config.tasks | {"depth": config.tasks["depth"].model_copy(update={"metric": "abs_error"})}
    config = config.model_copy(update={"tasks": errors})
    kept = runs[~runs.metric.isin(["rmse", "log_rmse"]) | (runs.task != "depth")]
    rows = [kept]
    for metric in ("abs_error", "rel_error"):
        rows.append(runs[(runs.task == "depth") & (runs.metric == "rmse")].assign(metric=metric))
    change = delta_m_rows(pd.concat(rows, ignore_index=True), config)
    assert {"delta_m_per_metric", "delta_m_pooled"} <= set(change.metric), "the nine metrics of NYUv2"


def test_a_regression_judged_by_its_absolute_error_has_every_reading(done):
    runs = build_tables(done.plan, "rooms")["runs"]
    config = done.plan.project.benchmark("rooms")
    own = {"height": TaskConfig(kind="regression", metric="abs_error", rope=1.0, unit="cm")}
    rmse = runs[(runs.task == "depth") & (runs.metric == "rmse")]
    rows = [runs, *(rmse.assign(task="height", metric=metric) for metric in ("rmse", "abs_error"))]
    change = delta_m_rows(pd.concat(rows, ignore_index=True), config.model_copy(update={"tasks": config.tasks | own}))
    assert {"delta_m", "delta_m_per_metric", "delta_m_pooled"} <= set(change.metric)


def test_a_change_against_a_baseline_elsewhere_says_so(done):
    runs = build_tables(done.plan, "rooms")["runs"]
    config = done.plan.project.benchmark("rooms")
    moved = runs.assign(environment=runs.environment.mask(runs.method == config.baseline, "cuda-torch2"))
    change = delta_m_rows(moved, config)
    assert set(change[change.method == "mtcp"].environment) == {f"{runs.environment[0]} against cuda-torch2"}
    assert set(change[change.method == config.baseline].environment) == {"cuda-torch2"}


def test_bold_is_nothing_that_lacks_seeds(done):
    table = build_tables(done.plan, "rooms")
    runs = pd.concat([table["runs"], table["multi_task"]], ignore_index=True)
    depth = (runs.task == "depth") & (runs.metric == "rmse") & (runs.output == "final") & (runs.selection == "last")
    lucky = depth & (runs.method == "mtl_baseline")
    runs = runs.assign(value=runs.value.mask(lucky, 0.01).mask(lucky & (runs.seed > 0)))
    runs = pd.concat([runs, runs.assign(seed=runs.seed + 4)], ignore_index=True)  # four seeds could mark nothing
    config, methods = done.plan.project.benchmark("rooms"), done.plan.project.methods
    planned = {name: methods[name] for name in dict.fromkeys(runs.method)}
    paper = paper_tables(runs, summarise(runs, config, planned), config, planned)
    rows = paper[(paper.table == "main") & (paper.task == "depth") & (paper.metric == "rmse")].set_index("method")
    assert rows.n["mtl_baseline"] == 2 and not rows.best["mtl_baseline"]
    assert rows.best.any()


def test_delta_m_needs_every_task(done):
    runs = build_tables(done.plan, "rooms")["runs"]
    config = done.plan.project.benchmark("rooms")
    without = runs[~((runs.method == "mtcp") & (runs.task == "edge") & (runs.seed == 0))]
    change = delta_m_rows(without, config)
    left = set(change[(change.method == "mtcp") & (change.seed == 0)].metric)
    assert left == {"delta_coherence"}


def test_only_an_empty_cell_is_missing_and_names_stay_text(tmp_path):
    words, numbers = ["None", "NA", "nan", "1"], [float("nan"), float("inf"), float("-inf"), 1.5]
    texts = ("id", "claim", "method", "label", "family", "name", "task", "metric", "column", "selection", "source")
    write_text(tmp_path / "a.csv", to_csv(pd.DataFrame(dict.fromkeys(texts, words) | {"value": numbers, "reason": ""})))
    read = read_table(tmp_path / "a.csv")
    for text in texts:
        assert read[text].tolist() == words
    assert read.value.tolist() == pytest.approx(numbers, nan_ok=True)
    assert read.reason.isna().all()
    write_text(tmp_path / "b.csv", "id,method\n1,x\n2,y\n")
    assert read_table(tmp_path / "b.csv").id.tolist() == ["1", "2"]


def test_a_method_called_nan_has_its_means(done):
    write_tables(done.plan, "rooms")
    path = done.root / "results/tables/rooms/summary.csv"
    write_text(path, path.read_text().replace("\nrooms,mtcp,", "\nrooms,nan,"))
    assert "depth_rmse" in metrics_tree(read_table(path), done.plan.project.benchmark("rooms"))["nan"]
