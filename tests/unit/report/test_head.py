"""What the head of a page warns of."""

import pandas as pd
import pytest

from mtcp.core.project import Project
from mtcp.report.cells import column_of
from mtcp.report.head import notes, same_networks
from mtcp.report.page import Page


def provenance(**networks: list[str | None]) -> pd.DataFrame:
    """Method -> digest of its network by seed."""
    rows = [(method, seed, digest) for method, found in networks.items() for seed, digest in enumerate(found)]
    return pd.DataFrame(rows, columns=["method", "seed", "network_sha256"])


def test_methods_that_trained_one_and_the_same_network_are_named_together() -> None:
    table = provenance(lps=["a", "b"], equal=["c", "d"], clipped=["a", "b"], fixed=["c", "e"])
    assert same_networks(table) == [["lps", "clipped"]]


def test_on_one_seed_alone_networks_may_be_equal() -> None:
    assert same_networks(provenance(lps=["a", "b"], clipped=["a", "x"], short=["a"])) == []


def test_what_is_not_trained_is_equal_to_nothing() -> None:
    assert same_networks(provenance(lps=[None, "b"], clipped=[None, "b"], other=["", ""], another=["", ""])) == []


@pytest.mark.slow
@pytest.mark.parametrize(("unit", "said"), [(None, False), ("px", True)])
def test_a_disparity_is_not_taken_for_metres(tabled, unit: str | None, said: bool) -> None:
    page = Page.read(Project(tabled.root), "rooms")
    depth = page.benchmark.tasks["depth"].model_copy(update={"unit": unit})
    benchmark = page.benchmark.model_copy(update={"tasks": {**page.benchmark.tasks, "depth": depth}})
    page = Page(page.project, page.name, benchmark, page.tables)
    assert any("Depth is a disparity" in note for note in notes(page)) == said
    assert column_of("depth", "rmse", page)["detail"] == f"RMSE {unit or 'm'} ↓"


def test_arrows_are_those_of_the_metric_and_not_of_the_task(tabled) -> None:
    page = Page.read(Project(tabled.root), "rooms")
    shown = {("normals", "within_11_25"): "↑", ("normals", "mean"): "↓", ("depth", "within_1_25"): "↑"}
    shown |= {("depth", "abs_error_batches"): "↓", ("semseg", "miou"): "↑", ("coherence", "depth_boundary_f"): "↑"}
    for (task, metric), arrow in shown.items():
        assert column_of(task, metric, page)["detail"].endswith(arrow), (task, metric)


def test_runs_from_other_weights_are_named(tabled) -> None:
    page = Page.read(Project(tabled.root), "rooms")
    table = page.tables["provenance"]
    one = table.assign(weights_sha256="a" * 64)
    two = one.assign(weights_sha256=one.weights_sha256.mask((one.method == "mtcp") & (one.seed == 0), "b" * 64))
    methods = one.assign(weights_sha256=one.weights_sha256.mask(one.method == "mtcp", "b" * 64))
    for rows, said in ((table, False), (one, False), (two, True), (methods, True)):
        found = list(notes(Page(page.project, page.name, page.benchmark, page.tables | {"provenance": rows})))
        assert any("different pre-trained weights" in note and page.labels["mtcp"] in note for note in found) == said


def test_rounds_of_a_measured_cost_are_no_seeds(tabled) -> None:
    page = Page.read(Project(tabled.root), "rooms")
    claims = page.tables["claims"].assign(least_n=8)
    costs = claims[claims.task == "cost"]
    assert len(costs)
    assert claims.n.max() < 8
    measured = claims.assign(n=claims.n.mask(claims.task == "cost", 8))
    compared = page.tables["comparisons"].assign(least_n=8)
    tables = page.tables | {"claims": measured, "comparisons": compared}
    found = list(notes(Page(page.project, page.name, page.benchmark, tables)))
    assert any("Treat the numbers as preliminary" in note for note in found)


def test_what_is_worse_than_the_prior_is_named_with_its_tasks(tabled) -> None:
    page = Page.read(Project(tabled.root), "rooms")
    table = page.tables["summary"]

    def said(**means: tuple[str, str, float]) -> list[str]:
        changed = table.copy()
        for method, (task, metric, mean) in means.items():
            rows = (changed.method == method) & (changed.task == task) & (changed.metric == metric)
            changed.loc[rows & (changed.output == "final"), "mean"] = mean
        found = notes(Page(page.project, page.name, page.benchmark, page.tables | {"summary": changed}))
        return [note for note in found if note.startswith("Worse on average than")]

    assert said() == []
    (found,) = said(mtcp=("depth", "rmse", 99.0), mtl_baseline=("semseg", "miou", 0.0))
    labels = page.labels
    assert f"'{labels['trivial_prior']}', which sees no image: " in found
    parts = {f"{labels['mtcp']} in depth", f"{labels['mtl_baseline']} in segmentation"}
    assert set(found.partition("image: ")[2].partition(".")[0].split("; ")) == parts


def test_equal_networks_are_one_note(tabled) -> None:
    page = Page.read(Project(tabled.root), "rooms")
    rows = provenance(mtcp=["a"], mtcp_equal=["a"], mtl_baseline=["b"], uncertainty=["b"], single_task=["c"])
    table = page.tables["provenance"].drop(columns="network_sha256").merge(rows, on=["method", "seed"], how="inner")
    found = list(notes(Page(page.project, page.name, page.benchmark, page.tables | {"provenance": table})))
    (said,) = (note for note in found if note.startswith("One network"))
    labels = page.labels
    pairs = {frozenset(pair.split(" = ")) for pair in said.partition("acted: ")[2].removesuffix(".").split("; ")}
    expected = [("mtcp", "mtcp_equal"), ("mtl_baseline", "uncertainty")]
    assert pairs == {frozenset(labels[method] for method in pair) for pair in expected}


@pytest.mark.parametrize(("seeds", "said"), [(3, True), (8, False)])
def test_nothing_concludes_only_where_no_claim_can(tabled, seeds: int, said: bool) -> None:
    page = Page.read(Project(tabled.root), "rooms")
    claims, comparisons = (page.tables[name].copy() for name in ("claims", "comparisons"))
    claims.loc[claims.n > 0, ["n", "least_n"]] = [seeds, 8]
    comparisons[["n", "least_n"]] = [seeds, 9]
    changed = {**page.tables, "claims": claims, "comparisons": comparisons}
    page = Page(page.project, page.name, page.benchmark, changed)
    assert any("no conclusion" in note for note in notes(page)) == said


def test_a_grid_of_one_method_has_nothing_to_conclude(tabled) -> None:
    page = Page.read(Project(tabled.root), "rooms")
    changed = {**page.tables, "claims": pd.DataFrame(), "comparisons": pd.DataFrame()}
    page = Page(page.project, page.name, page.benchmark, changed)
    assert not any("no conclusion" in note for note in notes(page))


def test_times_beside_other_work_say_how_much(tabled) -> None:
    page = Page.read(Project(tabled.root), "rooms")
    provenance = page.tables["provenance"].assign(load=0.5, cores=2)
    provenance.loc[:2, "load"] = 8.5
    found = list(notes(Page(page.project, page.name, page.benchmark, page.tables | {"provenance": provenance})))
    assert any(f"(load up to 8.5 on 2 cores, in 3 of {len(provenance)} runs)" in note for note in found)


@pytest.mark.parametrize(
    ("seeds", "least", "said"),
    [
        (2, (7, 7), "Two seeds allow no conclusion: these claims need at least 7. "),
        (1, (7, 8), "One seed allows no conclusion: these claims need at least 7 or 8, by family. "),
        (0, (7, 7), "No seed has a pair of finished runs yet: these claims need at least 7. "),
        (0, (6, 7, 8), "No seed has a pair of finished runs yet: these claims need at least 6, 7 or 8, by family. "),
    ],
)
def test_what_too_few_seeds_allow(tabled, seeds: int, least: tuple[int, ...], said: str) -> None:
    page = Page.read(Project(tabled.root), "rooms")
    claims = pd.DataFrame({"task": "depth", "n": seeds, "least_n": least})
    tables = page.tables | {"claims": claims, "comparisons": pd.DataFrame()}
    found = list(notes(Page(page.project, page.name, page.benchmark, tables)))
    assert any(note == f"{said}Treat the numbers as preliminary." for note in found), found


def test_a_number_of_seeds_that_some_family_needs_is_not_said_to_be_too_small(tabled) -> None:
    """Comparisons have seven pairs, which would be enough for a claim that has five."""
    page = Page.read(Project(tabled.root), "rooms")
    compared = pd.DataFrame({"task": "depth", "n": [7], "least_n": [8], "environments": "same"})

    def said(*pairs: tuple[int, int]) -> str:
        claims = pd.DataFrame(pairs, columns=["n", "least_n"]).assign(task="depth")
        tables = page.tables | {"claims": claims, "comparisons": compared}
        (found,) = (
            each for each in notes(Page(page.project, page.name, page.benchmark, tables)) if "onclusion" in each
        )
        return found.removesuffix(" Treat the numbers as preliminary.")

    assert said((5, 6), (4, 7)) == "Five seeds allow no conclusion: these claims need at least 6 or 7, by family."
    start = "No conclusion: of the paired seeds that these claims need, there are at most "
    assert said((5, 6), (6, 7), (4, 8)) == f"{start}5 of 6, 6 of 7 and 4 of 8, by family."
