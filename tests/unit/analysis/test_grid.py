"""The declared grid: named grids, adding seeds, and what it says about looks."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from mtcp.analysis.grid import add_seeds
from mtcp.analysis.statistics import least_n
from mtcp.analysis.stopping import families, rule
from mtcp.core.claims import load_claims
from mtcp.core.config import Params
from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.store.plan import Plan

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for part in ("config", "data"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("rooms", "people", ".ready"))
    shutil.copytree(ROOT / "results", tmp_path / "results", ignore=lambda folder, names: {*names} - {"published.csv"})
    text, count = re.subn(
        r"^seeds: .*$", "seeds: [0, 1, 2, 3, 4, 5, 6, 7]", (ROOT / "params.yaml").read_text(), flags=re.M
    )
    assert count == 1
    (tmp_path / "params.yaml").write_text(text)
    return tmp_path


def judged(project: Path, rows: str | bytes) -> None:
    """Leave a table of claims with these rows, or this content."""
    path = project / "results/tables/rooms/claims.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(rows if isinstance(rows, bytes) else f"id,n,least_n,alpha\n{rows}".encode())


def test_the_default_grid_can_conclude_in_every_family_of_its_claims():
    plan = Plan.load(ROOT)
    found = {row["family"]: row for row in families(plan, "rooms")}
    assert set(found) == {"main", "cost", "coherence", "refinement"}
    assert all(row["can_conclude"] == "yes" for row in found.values())
    assert found["main"]["least_n"] == least_n(found["main"]["claims"]) <= len(plan.project.params.seeds)
    judged = {name for row in found.values() for name in row["ids"].split(", ")}
    assert {"trace_back_improves_coherence", "trace_back_refines"} <= judged
    assert judged < {claim.id for claim in load_claims(ROOT / "config/claims.yaml")}


def test_a_family_with_a_cost_beside_needs_the_seeds_of_its_other_claims(project):
    claims = [
        {"id": name, "family": family, "text": "A.", "evidence": "own", "method": "mtcp", "reference": "single_task",
         "measure": measure}
        for name, family, measure in (("a", "z", "delta_m"), ("b", "z", "parameters"), ("c", "y", "parameters"))
    ]  # fmt: skip
    (project / "config/claims.yaml").write_text(yaml.safe_dump(claims))
    found = families(Plan.load(project), "rooms")
    assert [(row["family"], row["ids"], row["least_n"]) for row in found] == [("z", "a, b", 6), ("y", "c", 1)]


def test_the_ablations_hold_the_default_grid_and_judge_every_claim_of_a_rendered_benchmark(project):
    grids = Project(project).grids
    assert set(grids["default"].methods) < set(grids["ablations"].methods)
    params = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump(params | {"methods": ["ablations"]}))
    plan = Plan.load(project)
    assert list(plan.project.params.methods) == grids["ablations"].methods
    judged = {name for row in families(plan, "rooms") for name in row["ids"].split(", ")}
    assert judged == {claim.id for claim in load_claims(project / "config/claims.yaml") if claim.published is None}


def test_a_grid_and_methods_of_ones_own_stand_side_by_side(project):
    (project / "params.yaml").write_text("{benchmarks: [rooms], methods: [default, uncertainty], seeds: [0]}")
    params = Plan.load(project).project.params
    assert params.methods == [*Project(project).grids["default"].methods, "uncertainty"]


def test_an_unknown_grid_or_method_is_named_and_a_method_counts_once(project):
    (project / "params.yaml").write_text("{benchmarks: [rooms], methods: [everything], seeds: [0]}")
    with pytest.raises(UserError, match="unknown method 'everything'"):
        Plan.load(project)
    with pytest.raises(UserError) as caught:
        Project(project).method("ablation")
    assert "ablations" not in str(caught.value), "a grid is no method"
    (project / "params.yaml").write_text("{benchmarks: [rooms], methods: [default, mtcp], seeds: [0]}")
    with pytest.raises(UserError, match="in the grid 'default', too"):
        Plan.load(project)


def test_adding_seeds_keeps_the_file_and_its_comments(project):
    before = (project / "params.yaml").read_text()
    plan = add_seeds(project, 4)
    after = (project / "params.yaml").read_text()
    assert plan.project.params.seeds == list(range(12))
    assert plan.project.params.looks == 1
    assert after == before.replace("[0, 1, 2, 3, 4, 5, 6, 7]", "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]")


@pytest.mark.parametrize(
    "text",
    [
        "benchmarks: [rooms]\nmethods: [mtcp]\nseeds:\n- 3\n- 5\nlooks: 1\n",
        "{benchmarks: [rooms], methods: [mtcp], seeds: [3, 5]}\n",
    ],
    ids=["block", "flow"],
)
def test_seeds_are_added_in_any_style_above_the_last(project, text):
    (project / "params.yaml").write_text(text)
    assert add_seeds(project, 2).project.params.seeds == [3, 5, 6, 7]
    judged(project, "a,4,4,0.05\nb,,,\n")
    params = add_seeds(project, 1).project.params
    assert (params.seeds, params.looks) == ([3, 5, 6, 7, 8], 2)


def test_seeds_that_would_be_too_large_are_refused_and_nothing_is_written(project):
    text = "{benchmarks: [rooms], methods: [mtcp], seeds: [0, 999999999]}\n"
    (project / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml: 2 seeds above 999999999 would pass 1000000000, the largest"):
        add_seeds(project, 2)
    assert (project / "params.yaml").read_text() == text
    assert add_seeds(project, 1).project.params.seeds == [0, 999999999, 1000000000]


def test_comments_after_a_block_list_stay(project):
    head, tail = "benchmarks: [rooms]\nmethods: [mtcp]\nseeds:", "  # two\n# comment\n\ntitle: x\n"
    (project / "params.yaml").write_text(f"{head}\n  - 0\n  - 1{tail}")
    add_seeds(project, 1)
    assert (project / "params.yaml").read_text() == f"{head} [0, 1, 2]{tail}"


@pytest.mark.parametrize(
    "row", ["a,3.0,8.0", "parameters,3.0,1.0", "rounds,20.0,9.0"], ids=["few seeds", "no chance", "rounds"]
)
def test_tables_that_could_not_conclude_are_no_look(project, row):
    """The command that a report recommends must lead to the number of seeds that it names."""
    judged(project, f"{row},0.05\nb,,,\n")
    plan = add_seeds(project, 4)
    assert plan.project.params.looks == 1
    main = next(row for row in families(plan, "rooms") if row["family"] == "main")
    assert main["least_n"] == 8


def test_seeds_added_after_verdicts_are_a_further_look(project):
    first = Plan.load(project).stamps("rooms").tables
    judged(project, "a,8,8,0.05\nb,,,\n")
    plan = add_seeds(project, 1)
    assert plan.project.params.looks == 2
    assert plan.stamps("rooms").tables != first
    assert "look 2" in rule(plan.project.params)
    assert "at most 7.5 %" in rule(plan.project.params)
    main = next(row for row in families(plan, "rooms") if row["family"] == "main")
    assert (main["least_n"], main["seeds"], main["can_conclude"]) == (9, 9, "yes")
    assert add_seeds(project, 1).project.params.looks == 2, "no verdicts since"
    judged(project, "a,9,9,0.025\n")
    assert add_seeds(project, 1).project.params.looks == 3


@pytest.mark.parametrize(
    "text",
    [
        "benchmarks: [rooms]\nmethods: [mtcp]\nseeds: [0, 1]\n...\n",
        "{benchmarks: [rooms], methods: [mtcp], seeds: [0, 1],}\n",
    ],
    ids=["end mark", "last comma"],
)
def test_a_file_that_cannot_be_changed_in_place_stays_as_it_was(project, text):
    (project / "params.yaml").write_text(text)
    judged(project, "a,2,2,0.05\n")
    with pytest.raises(UserError, match=r"write `seeds: \[0, 1, 2\]` and `looks: 2` there by hand"):
        add_seeds(project, 1)
    assert (project / "params.yaml").read_text() == text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"id,verdict\na,holds\n", "no table of claims of this version"),
        (b"id,n,least_n,alpha\na,many,8,0.05\n", "no table of claims of this version"),
        (b"id,n,least_n,alpha\n\xff,8,8,0.05\n", "is damaged"),
    ],
)
def test_claims_that_cannot_be_read_are_named(project, content: bytes, words: str):
    before = (project / "params.yaml").read_text()
    judged(project, content)
    with pytest.raises(UserError, match=rf"rooms/claims\.csv .*{words}.*run `mtcp tables rooms`"):
        add_seeds(project, 1)
    assert (project / "params.yaml").read_text() == before


def test_a_link_to_the_parameters_stays_one(project):
    path = project / "params.yaml"
    target = path.rename(project / "shared.yaml")
    path.symlink_to(target)
    assert add_seeds(project, 1).project.params.seeds[-1] == 8
    assert path.is_symlink() and "8]" in target.read_text()


def test_the_rule_of_a_first_look_calls_optional_stopping_by_its_name():
    said = rule(Params(benchmarks=["rooms"], methods=["mtcp"], seeds=[0, 1]))
    assert "both declared seeds" in said
    assert "optional stopping" in said
    assert "5 % per family" in said


def test_one_missing_seed_is_no_plural(project):
    params = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump(params | {"seeds": list(range(7))}))
    main = next(row for row in families(Plan.load(project), "rooms") if row["family"] == "main")
    assert main["can_conclude"] == "needs 1 more seed"


@pytest.mark.slow
def test_mtcp_grid_prints_json(project_at, project):
    shutil.copytree(ROOT / "plugins", project / "plugins")
    printed = json.loads(project_at(project).mtcp("grid", "--json").stdout)
    assert (printed["methods"], printed["seeds"], printed["runs"], printed["done"]) == (6, 8, 48, 0)
    assert "Verdicts are computed once" in printed["rule"]
    told = project_at(project).mtcp("grid", "add-seeds", "2").stdout
    assert "10 seeds" in told
