"""Keys: they move with every field's value and with every default that reaches a run, and with nothing else."""

import ast
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from mtcp.core import config as configuration
from mtcp.core.code_digest import code_closure, code_digest
from mtcp.core.data_sets import BUNDLED, read_description
from mtcp.core.errors import UserError
from mtcp.core.hashing import digest
from mtcp.core.plugins import PACKAGE_ROOT, path_of
from mtcp.core.project import Project
from mtcp.core.run_config import NEUTRAL, RunConfig
from mtcp.models.packaged import PACKAGE
from mtcp.store.keys import differences, key_parts

#: The files of the configuration's models and of the project that reads them, each after those that it needs.
SOURCES = ("run_config", "config", "project")
#: Fields of a resolved run that change neither training nor metrics.
OUTSIDE = {"method", "tasks.*.rope", "tasks.*.label", "tasks.*.unit", "evaluation.batch_size"}
#: Fields whose default reaches no run: wording, what is asked of the machine, what tables compare, and the budget,
#: whose trials have keys of their own. A method's `losses` and `scheme`, a benchmark's `evaluation` stand for models
#: of which every field is tested; `search` counts under a budget alone.
UNREACHING = {
    "TaskConfig.rope", "TaskConfig.label", "EvaluationConfig.batch_size", "Method.description", "Method.search",
    "Benchmark.data",
    "Benchmark.budget", "Benchmark.resources", "Benchmark.baseline", "Benchmark.reference",
    "RenderSettings.seed",  # in the digest of the data
    "Benchmark.delta_m_rope", "Benchmark.delta_m_readings",
    "ResourceConfig.runs_per_gpu", "ResourceConfig.threads", "ResourceConfig.mem_mb", "ResourceConfig.runtime",
}  # fmt: skip
#: Values of fields for which not every other value makes a task.
CHOSEN = {"tasks.*.kind": "regression"}
#: Defaults that need a value of a certain form, and those that no task of the smallest project could have.
FORMS = {
    "Method.training": {"weight_decay": 0.3},
    "Benchmark.scheme_parameters": {"equal": {"power": 2}},
    "Benchmark.validation_share": 0.1,
    "Benchmark.upsample": 4,
    "ResourceConfig.gpu": 2,
    "ResourceConfig.processes": 2,
}
REFUSED = {
    "TaskConfig.kind", "TaskConfig.unit", "TaskConfig.classes", "TaskConfig.loss", "TaskConfig.positive_weight",
    "EncoderConfig.revision", "EncoderConfig.sha256", "TrainingConfig.decay_every", "TrainingConfig.sync_batch_norm",
}  # fmt: skip
SMALLEST = {
    "params.yaml": "benchmarks: [small]\nmethods: [plain]\nseeds: [0]\n",
    "config/methods.yaml": "plain: {label: Plain, family: method, architecture: {name: mtcp}}\n",
    "config/benchmarks/small.yaml": """\
label: Small
layout: nyud
tasks: {depth: {}}
height: 32
width: 32
encoder: {kind: timm, model: resnet10t}
augmentation: {policy: none}
training: {epochs: 9, batch_size: 2}
""",
}


@pytest.fixture(scope="module")
def smallest(tmp_path_factory) -> Path:
    """A project in which every default is in force."""
    root = tmp_path_factory.mktemp("smallest")
    for name, text in SMALLEST.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def keys(config: RunConfig) -> tuple[str, str]:
    return digest(config.training_part()), digest([config.training_part(), config.evaluation_part()])


def other(annotation: Any, value: Any) -> Any:
    """Another value of a field of this type; says what to teach this test where it knows none."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return next(choice for choice in arguments if choice != value)
    if origin in (Union, types.UnionType):
        kind = next(argument for argument in arguments if argument is not type(None))
        return other(kind, value)
    if hasattr(annotation, "__metadata__"):
        return other(annotation.__origin__, value)
    if origin is dict or annotation is dict:
        return {"another": {"depth": "log_rmse"}}
    if annotation is bool:
        return not value
    if annotation is int:
        return (value or 0) + 3
    if annotation is float:
        return 0.123 if value is None else 0.5 * value + 0.011
    if annotation is str:
        return "log_rmse" if value is None else f"{value}other"
    raise NotImplementedError(f"a field of type {annotation}: say here what another value of it looks like")


def models_within(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_within(argument)


def changes(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, BaseModel]]:
    """Every field at any depth: (its path, `model` with another value there)."""
    for name, field in type(model).model_fields.items():
        value, path = getattr(model, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            for inner, changed in changes(value, f"{path}."):
                yield inner, model.model_copy(update={name: changed})
        elif isinstance(value, Mapping) and list(models_within(field.annotation)):
            for key, part in value.items():
                for inner, changed in changes(part, f"{path}.*."):
                    yield inner, model.model_copy(update={name: {**value, key: changed}})
        else:
            changed = CHOSEN.get(path) or other(field.annotation, value)
            yield path, model.model_copy(update={name: changed})
    if isinstance(model, configuration.PluginConfig):
        yield f"{prefix}parameter", type(model)(**model.model_dump(), parameter=1)


def test_every_field_of_a_run_moves_its_key_but_for_those_outside(smallest: Path) -> None:
    config = Project(smallest).resolve("small", "plain", 0)
    train, evaluation = keys(config)
    walked = set()
    for path, changed in changes(config):
        walked.add(path)
        assert changed != config, path
        now = keys(changed)
        if path in OUTSIDE:
            assert now == (train, evaluation), f"{path} moves a key"
        elif path.startswith("evaluation.") or path == "tasks.*.metric":
            assert now[0] == train and now[1] != evaluation, f"{path} must move the eval_key alone"
        else:
            assert now[0] != train and now[1] != evaluation, f"{path} moves no key"
    assert walked >= OUTSIDE
    assert {"losses.auxiliary_weight", "training.decay_power", "evaluation.depth_cap", "tasks.*.loss"} <= walked


class _Default(ast.NodeTransformer):
    """Replaces the default of one field of one class in a syntax tree."""

    def __init__(self, model: str, field: str, value: Any) -> None:
        self.model, self.field, self.value = model, field, ast.parse(repr(value), mode="eval").body

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        for line in node.body if node.name == self.model else []:
            if not isinstance(line, ast.AnnAssign) or line.target.id != self.field:
                continue
            call = line.value
            if not (isinstance(call, ast.Call) and call.func.id == "Field"):
                line.value = self.value
                continue
            call.args = []
            call.keywords = [each for each in call.keywords if each.arg not in ("default", "default_factory")]
            call.keywords.append(ast.keyword("default", self.value))
        return node


def defaults() -> Iterator[tuple[type[BaseModel], str, Any]]:
    """(model, field, another default) of every field with a default that a configuration file may leave out."""
    pending, seen = [configuration.Benchmark, configuration.Method], []
    while pending:
        model = pending.pop()
        seen.append(model)
        for name, field in model.model_fields.items():
            inner = list(models_within(field.annotation))
            pending += [each for each in inner if each not in (*seen, *pending)]
            if not field.is_required() and not inner:
                yield model, name, other(field.annotation, field.get_default(call_default_factory=True))


@pytest.mark.slow
def test_every_default_in_the_code_that_reaches_a_run_is_in_its_key(smallest: Path) -> None:
    """The configuration's own source with one default changed: as a commit does it."""
    parts = [ast.parse((PACKAGE_ROOT / f"mtcp/core/{name}.py").read_text()) for name in SOURCES]
    own = {f"mtcp.core.{name}" for name in SOURCES}
    body = [node for part in parts for node in part.body if getattr(node, "module", None) not in own]
    source = ast.unparse(ast.Module(body, []))

    def keys_with(*change: Any) -> tuple[str, str]:
        tree = ast.parse(source)
        tree = ast.fix_missing_locations(_Default(*change).visit(tree) if change else tree)
        module = types.ModuleType(configuration.__name__)
        exec(compile(tree, "config.py", "exec"), vars(module))
        return keys(module.Project(smallest).resolve("small", "plain", 0))

    before, walked = keys_with(), set()
    for model, field, value in defaults():
        name = f"{model.__name__}.{field}"
        walked.add(name)
        if name in REFUSED:
            with pytest.raises(UserError):
                keys_with(model.__name__, field, value)
            continue
        now = keys_with(model.__name__, field, FORMS.get(name, value))
        assert (now == before) == (name in UNREACHING), f"default of {name}: {before} -> {now}"
    assert UNREACHING - walked <= {"Benchmark.budget", "Benchmark.resources"}, "no longer fields"
    assert {"LossConfig.auxiliary_weight", "TrainingConfig.decay_power", "EvaluationConfig.depth_cap"} <= walked


@pytest.mark.parametrize("path", NEUTRAL)
def test_a_neutral_value_is_left_out_and_every_other_one_is_hashed(smallest: Path, path: str) -> None:
    config = Project(smallest).resolve("small", "plain", 0)
    *part, field = path.split(".")

    def within(model: Any) -> Any:
        for name in part:
            model = vars(model)[name] if isinstance(model, BaseModel) else model["depth" if name == "*" else name]
        return model

    def hashed(model: RunConfig) -> dict[str, Any]:
        return within(model.training_part())

    assert getattr(within(config), field) == NEUTRAL[path], "the value in force where nothing is said"
    assert field not in hashed(config)
    (changed,) = (changed for where, changed in changes(config) if where == path)
    assert hashed(changed)[field] == getattr(within(changed), field)


@pytest.mark.parametrize(
    "module", ["core.tasks", "training.losses", "weighting.base", "models.architecture", "data.loading.augment"]
)
def test_what_the_configuration_does_not_say_is_code_that_the_digest_covers(module: str) -> None:
    """Task properties, and defaults that schemes and architectures inherit, are no configuration: their code counts."""
    assert f"mtcp.{module}" in code_closure([PACKAGE_ROOT / "mtcp/training/loop.py"])


def parts(root: Path, **changed: Any) -> dict[str, Any]:
    """What determines the run of the smallest project, with some fields changed."""
    return key_parts(Project(root).resolve("small", "plain", 0).model_copy(update=changed), "the data", root)


def test_training_in_several_processes_counts_their_code_and_in_one_process_does_not(smallest: Path) -> None:
    plugins = [path_of("architecture", "mtcp", smallest), path_of("scheme", "equal", smallest)]
    one, together = (
        code_digest([PACKAGE_ROOT / "mtcp/training" / name, *plugins]) for name in ("loop.py", "together.py")
    )
    assert one != together
    assert (parts(smallest)["code"], parts(smallest, processes=2)["code"]) == (one, together)


def test_bytes_of_initial_weights_count(smallest: Path, monkeypatch) -> None:
    assert "weights" not in parts(smallest)
    encoder = Project(smallest).resolve("small", "plain", 0).encoder
    file, named = smallest / "w.safetensors", encoder.model_copy(update={"weights": "w.safetensors"})
    file.write_bytes(b"one")
    first = parts(smallest, encoder=named)["weights"]
    file.write_bytes(b"another")
    assert parts(smallest, encoder=named)["weights"] != first
    monkeypatch.setattr("mtcp.store.keys.packaged_digest", lambda model: f"of {model}")
    packaged = encoder.model_copy(update={"weights": PACKAGE})
    assert parts(smallest, encoder=packaged)["weights"] == "of resnet10t"


def test_a_description_that_mtcp_ships_counts_with_its_settings(smallest: Path) -> None:
    described = read_description(BUNDLED / "cityscapes.yaml").reading()
    assert parts(smallest, layout="cityscapes")["layout"] == digest(described)
    assert "layout" not in parts(smallest, layout="of_the_users"), "the digest of the data covers it"


def test_differences_name_what_changed_and_only_that() -> None:
    old = {"config": {"training": {"epochs": 10, "clip_norm": None}, "seed": 0}, "code": "a" * 64, "layout": "a" * 31}
    new = {"config": {"training": {"epochs": 12, "power": 1}, "seed": 1, "budget": {"n": 2}}, "code": "b" * 32}
    assert differences(old, new) == [
        "code: aaaaaaaaaaaa -> bbbbbbbbbbbb",
        'config.budget: nothing -> {"n": 2}',
        "config.seed: 0 -> 1",
        "config.training.clip_norm: null -> nothing",
        "config.training.epochs: 10 -> 12",
        "config.training.power: nothing -> 1",
        f'layout: "{"a" * 31}" -> nothing',
    ]
