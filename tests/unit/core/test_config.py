"""Configuration: what is accepted, what is refused, and how a mistake is said."""

import shutil
from pathlib import Path

import pytest
import yaml

from mtcp.core.errors import UserError
from mtcp.core.hashing import digest
from mtcp.core.project import Project
from mtcp.core.run_config import RunConfig
from mtcp.core.task_names import RESERVED


@pytest.fixture
def project(tmp_path: Path, root: Path) -> Path:
    shutil.copytree(root / "config", tmp_path / "config")
    shutil.copy(root / "params.yaml", tmp_path)
    return tmp_path


def edit(path: Path, change) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def refusal(project: Path, call) -> str:
    with pytest.raises(UserError) as caught:
        call(Project(project))
    return str(caught.value)


def test_the_shipped_configuration_resolves_for_every_benchmark_and_method(root: Path) -> None:
    project = Project(root)
    for benchmark in project.benchmark_names():
        for method in project.methods:
            config = project.resolve(benchmark, method, 0)
            assert [task.name for task in config.task_list] == list(config.tasks), "in the field's order"


def test_a_method_has_the_last_word_over_its_benchmark(root: Path) -> None:
    project = Project(root)
    assert project.resolve("rooms", "mtcp", 0).scheme.given["kappa"] == 1.6
    assert project.resolve("rooms", "mtcp_kappa_7_5", 0).scheme.given["kappa"] == 7.5


def test_an_unknown_benchmark_names_the_known_ones(project: Path) -> None:
    said = refusal(project, lambda p: p.benchmark("roms"))
    assert "'roms'" in said
    assert "rooms" in said


def test_an_unknown_method_names_file_and_known_ones(project: Path) -> None:
    said = refusal(project, lambda p: p.method("mtcq"))
    assert "'mtcq'" in said
    assert "config/methods.yaml" in said


@pytest.mark.parametrize("seed", ["one", 1.5, -1, True])
def test_a_seed_that_is_no_natural_number_is_refused(project: Path, seed) -> None:
    edit(project / "params.yaml", lambda content: content.update(seeds=[0, seed]))
    said = refusal(project, lambda p: p.params)
    assert "params.yaml, line" in said
    assert "key 'seeds.1'" in said


@pytest.mark.parametrize(
    ("file", "change", "key"),
    [
        ("params.yaml", lambda c: c.update(seed=[0]), "seed"),
        ("config/methods.yaml", lambda c: c["mtcp"].update(achitecture={}), "mtcp.achitecture"),
        ("config/methods.yaml", lambda c: c["mtcp"].update(losses={"depth": 1}), "mtcp.losses.depth"),
        ("config/benchmarks/rooms.yaml", lambda c: c["training"].update(epoch=3), "training.epoch"),
        ("config/benchmarks/rooms.yaml", lambda c: c.update(colour="red"), "colour"),
    ],
)
def test_an_unknown_key_is_named_with_its_file_and_its_neighbours(project: Path, file, change, key) -> None:
    edit(project / file, change)
    said = refusal(project, lambda p: (p.params, p.methods, p.resolve("rooms", "mtcp", 0)))
    assert str(project / file) in said
    assert f"'{key}'" in said
    assert "known:" in said or "did you mean 'epochs'?" in said


def test_a_method_override_of_training_is_validated(project: Path) -> None:
    edit(project / "config/methods.yaml", lambda c: c["mtcp"].update(training={"epochs": 0}))
    assert "'mtcp.training.epochs'" in refusal(project, lambda p: p.resolve("rooms", "mtcp", 0))


def test_broken_yaml_and_a_missing_file_are_one_sentence(project: Path) -> None:
    (project / "params.yaml").write_text("seeds: [0, 1")
    assert "params.yaml, line 2: no valid YAML" in refusal(project, lambda p: p.params)
    (project / "params.yaml").unlink()
    assert "is missing" in refusal(project, lambda p: p.params)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("seeds: [0, 0, 0]", "0 stands here twice"),
        ("methods: [mtcp, equal, mtcp]", "mtcp stands here twice"),
        ("benchmarks: [rooms, rooms]", "rooms stands here twice"),
    ],
)
def test_a_run_counts_once(project: Path, entry: str, problem: str) -> None:
    lines = [line for line in ("benchmarks: [rooms]", "methods: [mtcp]", "seeds: [0]") if line[:5] != entry[:5]]
    (project / "params.yaml").write_text("\n".join([*lines, entry]))
    assert refusal(project, lambda p: p.params).startswith(
        f"{project}/params.yaml, line 3, key '{entry.split(':')[0]}': {problem}"
    )


@pytest.mark.parametrize("key", ["benchmarks", "methods", "seeds"])
def test_an_empty_list_is_called_empty(project: Path, key: str) -> None:
    entries = {"benchmarks": "[rooms]", "methods": "[mtcp]", "seeds": "[0]"} | {key: "[]"}
    (project / "params.yaml").write_text("".join(f"{name}: {value}\n" for name, value in entries.items()))
    line = 1 + list(entries).index(key)
    said = f"{project}/params.yaml, line {line}, key '{key}': empty, and needs at least one entry"
    assert refusal(project, lambda p: p.params) == said


def test_an_empty_label_and_a_range_of_three_numbers_are_told(project: Path) -> None:
    edit(project / "config/methods.yaml", lambda c: c["mtcp"].update(label="", search={"kappa": [1, 2, 3]}))
    said = refusal(project, lambda p: p.methods)
    assert "key 'mtcp.label': empty, and needs at least one character" in said
    assert "key 'mtcp.search.kappa': has 3 entries, and at most 2 are expected" in said


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [("learning_rate", "yes", "a number"), ("epochs", "on", "a whole number"), ("clip_norm", "false", "a number")],
)
def test_yes_and_no_are_no_numbers(project: Path, key: str, value: str, expected: str) -> None:
    path = project / "config/benchmarks/rooms.yaml"
    edit(path, lambda content: content["training"].pop(key))
    path.write_text(path.read_text().replace("training:\n", f"training:\n  {key}: {value}\n"))
    said = refusal(project, lambda p: p.benchmark("rooms"))
    assert f"key 'training.{key}': expected {expected}, got {value in ('yes', 'on')}" in said


@pytest.mark.parametrize(
    ("task", "key", "problem"),
    [
        ("depth: {classes: 3}", "depth.classes", "depth has no classes"),
        ("human_parts: {classes: 6}", "human_parts.classes", "human_parts has 7 classes"),
        ("semseg: {}", "semseg.classes", "required, and missing"),
        ("depth: {loss: depht_l1}", "depth.loss", "'depht_l1' is not a loss of depth (known here: depth_l1)"),
        (
            "normals: {loss: depth_l1}",
            "normals.loss",
            "is not a loss of normals (known here: normals_mse, normals_l1, normals_cosine)",
        ),
        ("depth: {positive_weight: 0.5}", "depth.positive_weight", "belongs to sal and edge"),
        ("depth: {unit: cm, rope: 1}", "depth.unit", "'depth' of layout 'nyud' is in metres: leave it out"),
        ("depth: {unit: px}", "depth.rope", "required, and missing: what is practically equal"),
        ("normals: {unit: px}", "normals.unit", "belongs to depth and regression"),
        ("depth: {kind: normals}", "depth.kind", "depth is a standard task, and normals another one: take `kind`"),
        ("flow: {}", "flow.kind", "required, and missing: 'flow' is not a standard task (known: depth, "),
        ("flow: {kind: regresion, rope: 1}", "flow.kind", "expected one of semseg, human_parts, depth, sal, "),
        ("flow: {kind: regression}", "flow.rope", "required, and missing: what is practically equal"),
        ("flow: {kind: semseg}", "flow.classes", "required, and missing: the number of classes"),
        ("flow: {kind: depth, loss: normals_l1}", "flow.loss", "is not a loss of depth (known here: depth_l1)"),
        ("flow: {kind: depth}", "flow", "layout 'nyud' has no 'flow' (known: depth, edge, normals, semseg)"),
        ("Flow: {kind: depth}", "Flow", "'Flow' is not a name: use [a-z0-9_]+, a letter first"),
        ("lambda: {kind: depth}", "lambda", "'lambda' stands for something else"),
        *((f"{word}: {{kind: depth}}", word, f"'{word}' stands for something else") for word in sorted(RESERVED)),
    ],
)
def test_an_option_that_its_task_does_not_have_is_refused(project: Path, task: str, key: str, problem: str) -> None:
    path = project / "config/benchmarks/rooms.yaml"
    content = yaml.safe_load(path.read_text())
    del content["tasks"]
    path.write_text(f"tasks:\n  {task}\n{yaml.safe_dump(content)}")
    said = refusal(project, lambda p: p.benchmark("rooms"))
    assert said.startswith(f"{path}, line 2, key 'tasks.{key}': ")
    assert problem in said


@pytest.mark.parametrize("name", ["per_metric", "pooled"])
def test_a_reading_of_delta_m_under_the_name_of_a_usual_one_is_refused(project: Path, name: str) -> None:
    path = project / "config/benchmarks/rooms.yaml"
    path.write_text(f"delta_m_readings:\n  {name}: {{depth: rel_error}}\n{path.read_text()}")
    said = refusal(project, lambda p: p.benchmark("rooms"))
    assert said.startswith(f"{path}, line 2, key 'delta_m_readings.{name}': '{name}' is the tables' own")
    path.write_text(path.read_text().replace(f"{name}:", f"{name}_own:", 1))
    assert Project(project).benchmark("rooms").delta_m_readings == {f"{name}_own": {"depth": "rel_error"}}


def test_two_tasks_under_one_label_are_refused(project: Path) -> None:
    path = project / "config/benchmarks/rooms.yaml"
    edit(path, lambda content: content.update(tasks={"depth": {"label": "Edges"}, "edge": {"positive_weight": 0.8}}))
    assert "key 'tasks.edge.label': depth is called 'Edges', too" in refusal(project, lambda p: p.benchmark("rooms"))


OWN = """\
title: Own
images: "i/{split}/{id}.png"
tasks:
  height: {kind: regression, files: "h/{id}.png"}
  bends: {kind: edge, files: "b/{id}.png"}
  depth: {files: "d/{id}.png"}
"""
OWN_TASKS = {"height": {"kind": "regression", "rope": 1.0}, "bends": {"kind": "edge"}, "depth": {}}


def own_tasks(project: Path, tasks: dict) -> RunConfig:
    (project / "data").mkdir(exist_ok=True)
    (project / "data/own.yaml").write_text(OWN)
    path = project / "config/benchmarks/own.yaml"
    content = yaml.safe_load((project / "config/benchmarks/rooms.yaml").read_text())
    path.write_text(yaml.safe_dump({**content, "layout": "own", "rendered": None, "tasks": tasks}, sort_keys=False))
    return Project(project).resolve("own", "mtcp", 0)


def test_own_tasks_come_after_the_fields_and_their_order_in_the_file_is_in_no_key(project: Path) -> None:
    config = own_tasks(project, OWN_TASKS)
    assert [(task.name, task.kind) for task in config.task_list] == [
        ("depth", "depth"), ("bends", "edge"), ("height", "regression"),
    ]  # fmt: skip
    turned = own_tasks(project, dict(reversed(OWN_TASKS.items())))
    assert list(turned.tasks) != list(config.tasks) and turned.task_list == config.task_list
    assert digest(turned.training_part()) == digest(config.training_part())


def test_a_kind_is_in_the_key_where_the_name_does_not_say_it_and_wording_never(project: Path) -> None:
    config = own_tasks(project, OWN_TASKS)
    tasks = config.training_part()["tasks"]
    assert [tasks[name].get("kind") for name in ("depth", "bends", "height")] == [None, "edge", "regression"]
    worded = {**OWN_TASKS, "height": {**OWN_TASKS["height"], "unit": "cm", "label": "Height over ground"}}
    said = own_tasks(project, {**worded, "depth": {"kind": "depth"}})
    assert said.training_part() == config.training_part() and said.evaluation_part() == config.evaluation_part()
    assert [(task.label, task.metric_unit) for task in said.task_list] == [
        ("Depth", "m"), ("Bends", ""), ("Height over ground", "cm"),
    ]  # fmt: skip


def test_labels_and_resources_are_in_no_key(root: Path) -> None:
    config = Project(root).resolve("rooms", "mtcp", 0)
    text = repr(config.training_part()) + repr(config.evaluation_part())
    assert "label" not in text
    assert "mem_mb" not in text
    assert "rope" not in text
    assert "'method'" not in text, "two names of one configuration share a trained network"


@pytest.mark.parametrize(("resources", "processes"), [({}, 1), ({"gpu": 1}, 1), ({"gpu": 2}, 2), ({"processes": 2}, 2)])
def test_a_run_has_a_process_for_each_gpu_or_as_many_as_are_asked_for(project: Path, resources, processes) -> None:
    edit(
        project / "config/benchmarks/rooms.yaml", lambda content: content.update(resources={**resources, "threads": 3})
    )
    found = Project(project)
    assert found.resolve("rooms", "mtcp", 0).processes == processes
    assert found.benchmark("rooms").resources.cores == 3 * processes


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"resources": {"gpu": 2, "processes": 2}}, "`gpu` already sets the number of processes"),
        ({"resources": {"gpu": 2, "runs_per_gpu": 2}}, "remove `runs_per_gpu`"),
        ({"resources": {"processes": 3}}, "`training.batch_size` 8 is the whole batch, of which 3 processes"),
        ({"training": {"sync_batch_norm": True}}, "is for several processes, and `resources` asks for one"),
        (
            {"resources": {"gpu": 2}, "training": {"keep_last_batch": True}},
            "`training.keep_last_batch` leaves 2 processes",
        ),
    ],
)
def test_processes_that_do_not_fit_are_refused(project: Path, change, wanted: str) -> None:
    def changed(content) -> None:
        content["training"].update(change.get("training", {}))
        content["resources"] = change.get("resources", {})

    edit(project / "config/benchmarks/rooms.yaml", changed)
    said = refusal(project, lambda p: p.resolve("rooms", "mtcp", 0))
    assert said.startswith(f"{project}/config/benchmarks/rooms.yaml, line ")
    assert wanted in said


def test_a_method_whose_batch_does_not_fit_the_processes_is_blamed_itself(project: Path) -> None:
    edit(project / "config/benchmarks/rooms.yaml", lambda content: content.update(resources={"processes": 2}))
    edit(project / "config/methods.yaml", lambda content: content["mtcp"].update(training={"batch_size": 3}))
    Project(project).resolve("rooms", "single_task", 0)
    said = refusal(project, lambda p: p.resolve("rooms", "mtcp", 0))
    assert said.startswith(f"{project}/config/methods.yaml, line ")
    assert "key 'mtcp': `training.batch_size` 3 is the whole batch" in said
