"""`extends`: what an entry inherits, where each value comes from, and what is refused."""

import shutil
from pathlib import Path

import pytest

from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.roles import role_notes, with_roles


@pytest.fixture
def folder(tmp_path: Path, root: Path) -> Path:
    shutil.copytree(root / "config", tmp_path / "config")
    shutil.copy(root / "params.yaml", tmp_path)
    return tmp_path


def benchmark(folder: Path, name: str, text: str) -> None:
    (folder / f"config/benchmarks/{name}.yaml").write_text(text)


def method(folder: Path, text: str) -> None:
    with (folder / "config/methods.yaml").open("a") as file:
        file.write(f"\n{text}")


def test_a_benchmark_says_only_what_it_does_otherwise(folder: Path) -> None:
    benchmark(folder, "longer", "extends: rooms\nlabel: Longer\ntraining: {epochs: 9}\ntasks: {edge: null}\n")
    project = Project(folder)
    base, found = project.benchmark("rooms"), project.benchmark("longer")
    assert found.training == base.training.model_copy(update={"epochs": 9})
    assert set(found.tasks) == set(base.tasks) - {"edge"}
    assert found.data == "rooms", "and it uses the same images"
    assert (
        found.model_copy(update={"label": base.label, "training": base.training, "tasks": base.tasks, "data": None})
        == base
    )


def test_another_size_of_a_rendered_set_is_another_set(folder: Path) -> None:
    benchmark(folder, "larger", "extends: rooms\nlabel: Larger\nheight: 72\n")
    benchmark(folder, "largest", "extends: larger\nlabel: Longer\ntraining: {epochs: 9}\n")
    project = Project(folder)
    assert [project.data_name(name) for name in ("larger", "largest")] == ["larger", "larger"]


def test_the_origin_of_each_value_is_told(folder: Path) -> None:
    benchmark(folder, "longer", "extends: rooms\nlabel: Longer\ntraining:\n  epochs: 9\n")
    project = Project(folder)
    entry = project.benchmark_entry("longer")
    assert entry.origin(("training", "epochs"), folder) == "config/benchmarks/longer.yaml:4"
    assert entry.origin(("height",), folder).startswith("config/benchmarks/rooms.yaml:")
    assert entry.origin(("delta_m_rope",), folder) == "default"


def test_a_scheme_of_another_name_takes_no_parameters_over(folder: Path) -> None:
    method(folder, "steep:\n  extends: mtcp\n  label: Steep\n  scheme: {kappa: 3}\n")
    method(folder, "other:\n  extends: steep\n  label: Other\n  scheme: {name: uncertainty}\n")
    project = Project(folder)
    assert project.method("steep").scheme.model_dump() == {"name": "lps", "kappa": 3}
    other = project.method("other")
    assert other.scheme.model_dump() == {"name": "uncertainty"}
    assert (other.search, other.family, other.description) == ({}, "method", "")
    assert other.architecture == project.method("mtcp").architecture


def test_ranges_of_a_search_end_where_the_scheme_was_changed(folder: Path) -> None:
    method(folder, "steep:\n  extends: mtcp\n  label: Steep\n  scheme: {kappa: 7.5}\n")
    method(folder, "own:\n  extends: steep\n  label: Own\n  losses: {auxiliary_weighting: own_task}\n")
    method(folder, "searched:\n  extends: own\n  label: Searched\n  search: {other: [1, 2]}\n")
    method(folder, "again:\n  extends: searched\n  label: Again\n")
    method(folder, "same:\n  extends: mtcp\n  label: Same\n  losses: {auxiliary_weighting: own_task}\n")
    ranges = {name: found.search for name, found in Project(folder).methods.items()}
    assert ranges["steep"] == ranges["own"] == {}, "kappa stays 7.5"
    assert ranges["searched"] == ranges["again"] == {"other": (1, 2)}
    assert ranges["same"] == ranges["mtcp"] == {"kappa": (0.5, 10)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extends: rooms\n", "key 'label': required, and missing"),
        (
            "extends: romms\nlabel: X\n",
            "broken.yaml, line 1, key 'extends': 'romms' is not defined; did you mean 'rooms'?",
        ),
        ("extends: [rooms]\nlabel: X\n", r"key 'extends': expected the name of one entry, got \['rooms'\]"),
        ("extends: 3\nlabel: X\n", "key 'extends': expected the name of one entry, got 3"),
        (
            "extends: rooms\nlabel: X\ntasks: {semseg: null, depth: null, normals: null, edge: null}\n",
            "line 3, key 'tasks': empty, and needs at least one entry",
        ),
        ("extends: broken\nlabel: X\n", "extends itself"),
        ("extends: rooms\nlabel: X\ntraining: {epoch: 3}\n", "unknown key; did you mean 'epochs'?"),
    ],
)
def test_mistakes_are_named(folder: Path, text: str, words: str) -> None:
    benchmark(folder, "broken", text)
    with pytest.raises(UserError, match=words.replace(".", r"\.")):
        Project(folder).benchmark("broken")


@pytest.mark.parametrize(
    ("methods", "reference", "baseline", "notes"),
    [
        ("[single_task, mtcp, dwa]", "mtcp", "single_task", 0),
        ("[trivial_prior, dwa, uncertainty]", "dwa", "dwa", 2),
        ("[dwa, mtcp, mtl_baseline]", "mtcp", "mtl_baseline", 1),
        ("[trivial_prior]", "mtcp", "single_task", 0),
    ],
)
def test_a_grid_without_reference_or_baseline_gets_stand_ins(
    folder: Path, methods: str, reference: str, baseline: str, notes: int
) -> None:
    (folder / "params.yaml").write_text(f"benchmarks: [rooms]\nmethods: {methods}\nseeds: [0]\n")
    project = Project(folder)
    found = with_roles(project, "rooms")
    assert (found.reference, found.baseline) == (reference, baseline)
    assert len(role_notes(project, "rooms")) == notes
