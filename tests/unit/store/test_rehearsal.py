"""`mtcp check`: what is wrong with a plug-in is found in one step, and named with file and line."""

import re
from pathlib import Path

import pytest
import torch

from mtcp.core.errors import UserError
from mtcp.core.plugins import PACKAGE_ROOT
from mtcp.core.project import Project
from mtcp.core.run_config import EncoderConfig, PluginConfig, RunConfig, TaskConfig
from mtcp.evaluation.exporting import export
from mtcp.models.architecture import build_network
from mtcp.models.checkpoints import load_network, save_network
from mtcp.store.rehearsal import rehearse, require_searchable

pytestmark = pytest.mark.slow

ARCHITECTURE = """\
import torch
from torch import nn
from mtcp.api import Architecture, PluginParameters, architecture

@architecture("mine")
class Mine(Architecture):
    def __init__(self, context, parameters):
        super().__init__()
        self.tasks = context.tasks
        self.encoder = nn.Conv2d(3, 8, 3, padding=1)
        self.heads = nn.ModuleDict({task.name: nn.Conv2d(8, task.channels, 1) for task in context.tasks})

    def encode(self, image):
        return self.encoder(image)

    def decode(self, representation, size):
        out = {task.name: {"final": self.heads[task.name](representation)} for task in self.tasks}
        RESULT
"""
SCHEME = """\
import torch
from mtcp.api import LossScheme, scheme

@scheme("mine")
class Mine(LossScheme):
    def total(self, losses, present):
        BODY
"""
TASKS = "expected a mapping of the tasks semseg, depth, normals, edge"


@pytest.fixture
def config(tmp_path: Path, monkeypatch) -> RunConfig:
    """The rooms' tasks on a small encoder, with `plugins/` in the working directory."""
    (tmp_path / "plugins").mkdir()
    monkeypatch.chdir(tmp_path)
    found = Project(PACKAGE_ROOT).resolve("rooms", "mtcp_equal", 0)
    encoder = EncoderConfig(kind="timm", model="resnet10t", args={"channels": [8, 8, 16, 16], "stem_width": 8})
    return found.model_copy(update={"channels": 8, "encoder": encoder})


def with_architecture(config: RunConfig, result: str) -> RunConfig:
    Path("plugins/mine.py").write_text(ARCHITECTURE.replace("RESULT", result))
    return config.model_copy(update={"architecture": PluginConfig(name="mine")})


def test_a_network_is_read_with_the_plug_ins_of_its_project(config: RunConfig, tmp_path: Path, monkeypatch) -> None:
    changed = with_architecture(config, "return out")
    network = build_network(changed)
    save_network(network, changed, tmp_path / "model.safetensors")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="unknown architecture 'mine'"):
        load_network(changed, tmp_path / "model.safetensors")
    found = load_network(changed, tmp_path / "model.safetensors", tmp_path)
    assert torch.equal(found.encoder.weight, network.encoder.weight)


def test_a_network_that_predicts_nan_is_not_exported(config: RunConfig, tmp_path: Path) -> None:
    changed = with_architecture(config, "out['depth']['final'] = out['depth']['final'] * float('nan'); return out")
    with pytest.raises(UserError, match="predicts NaN or infinity: nothing was written"):
        export(build_network(changed, trained=True), changed, tmp_path / "model.ts")
    assert not (tmp_path / "model.ts").exists()


def test_trying_a_size_leaves_the_network_as_it_was(config: RunConfig) -> None:
    """A part that its author put into evaluation mode stays there, and what `forward` counts has not begun."""
    changed = with_architecture(config, "return out")
    text = Path("plugins/mine.py").read_text()
    frozen = "self.encoder.eval()\n        self.register_buffer('calls', torch.zeros(()))\n        self.heads"
    counting = "self.calls = self.calls + 1\n        return self.encoder(image)"
    text = text.replace("self.heads", frozen, 1).replace("return self.encoder(image)", counting)
    Path("plugins/mine.py").write_text(text)
    network = build_network(changed)
    assert network.training and network.heads.training and not network.encoder.training
    assert network.calls == 0
    network(torch.zeros(1, 3, 48, 64))
    assert network.calls == 1


def test_a_network_that_takes_its_own_size_alone_is_built(config: RunConfig) -> None:
    result = "if size != SIZE:\n            raise UserError(f'made for {SIZE}')\n        return out"
    changed = with_architecture(config, result)
    path = Path("plugins/mine.py")
    path.write_text(path.read_text().replace("architecture\n\n", "UserError, architecture\n\nSIZE = (128, 160)\n\n", 1))
    large = changed.model_copy(update={"height": 128, "width": 160})
    assert build_network(large).name == "mine"
    with pytest.raises(UserError, match=r"made for \(128, 160\)"):
        build_network(changed)


def test_a_range_of_an_unknown_parameter_is_refused() -> None:
    methods = Project(PACKAGE_ROOT).methods
    require_searchable(methods["mtcp"].model_copy(update={"search": {"kappa": (1.0, 8.0)}}))
    with pytest.raises(UserError, match=r"search: scheme 'lps' has no parameter 'kapa'; did you mean 'kappa'"):
        require_searchable(methods["mtcp"].model_copy(update={"search": {"kapa": (1.0, 8.0)}}))


def test_a_sound_plugin_is_silent(config: RunConfig) -> None:
    assert rehearse(with_architecture(config, "return out")) == []


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ('return {**out, "flow": out["depth"]}', f"{TASKS}, got one of"),
        ('del out["depth"]\n        return out', f"{TASKS}, got one of"),
        ('return {task: each["final"] for task, each in out.items()}', "'semseg' as a mapping with 'final', got float"),
        ('out["edge"] = {"first": 0}\n        return out', "task 'edge' as a mapping with 'final', got one of first"),
        ("return representation", f"{TASKS}, got float32 (2, 8, 48, 64)"),
        ("return None", f"{TASKS}, got NoneType"),
        (
            'out["depth"]["final"] = out["depth"]["final"][..., 1:]\n        return out',
            "output 'final' of task 'depth' as a float tensor (2, 1, 48, 64), got float32 (2, 1, 48, 63)",
        ),
        ('out["edge"]["final"] = out["edge"]["final"] > 0\n        return out', "got bool (2, 1, 48, 64)"),
        ('out["edge"]["aux"] = None\n        return out', "output 'aux' of task 'edge' as a float tensor"),
    ],
)  # fmt: skip
def test_what_a_network_returns_is_named_with_file_and_line(config: RunConfig, result: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        rehearse(with_architecture(config, result))
    assert re.search(r"architecture 'mine', `decode` \(.*plugins/mine.py, line 16\): expected ", str(caught.value))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("RESULT", "return outt", r"architecture 'mine', step 0: NameError in .*mine.py, line 18: name 'outt'"),
        ("RESULT", "return out if self.training else 1 / 0", r"'mine': ZeroDivisionError in .*mine.py, line 18"),
        ("RESULT", "raise SystemExit(0)", r"architecture 'mine', step 0: SystemExit in .*mine.py, line 18"),
        ("RESULT", "return out if torch.is_grad_enabled() else 1 / 0", r"architecture 'mine': Zero.* line 18"),
        ("return self.encoder(image)", "return None", r"step 0: TypeError in .*mine.py, line 17"),
        ("nn.ModuleDict(", "nn.ModuleDicts(", r"architecture 'mine': AttributeError in .*mine.py, line 11"),
        ("class Mine(Architecture)", "class Mine(nn.Module)", r"mine.py must derive from Architecture"),
        ("def decode(", "def decoded(", r"mine.py lacks `decode`: define it as Architecture describes"),
        ("    def __init__", "    trainable = False\n    def __init__", r"trainable = False and has no `fit`"),
    ],
)
def test_an_exception_of_a_network_is_named_with_file_and_line(
    config: RunConfig, old: str, new: str, said: str
) -> None:
    changed = with_architecture(config, "RESULT")
    text = Path("plugins/mine.py").read_text()
    Path("plugins/mine.py").write_text(text.replace(old, new).replace("RESULT", "return out"))
    with pytest.raises(UserError, match=said):
        rehearse(changed)


def test_a_network_that_fails_while_a_scheme_looks_again_is_at_fault_itself(config: RunConfig) -> None:
    changed = with_architecture(config, "return 1 / 0 if self.training and not torch.is_grad_enabled() else out")
    with pytest.raises(UserError, match=r"architecture 'mine': ZeroDivisionError in .*mine.py, line 18"):
        rehearse(changed.model_copy(update={"scheme": PluginConfig(name="famo")}))


@pytest.mark.parametrize("kept", [True, False], ids=["buffer", "attribute"])
def test_what_training_changes_must_be_in_the_file(config: RunConfig, kept: bool) -> None:
    """A running mean of the features is subtracted; as a plain attribute it is lost when the network is saved."""
    changed = with_architecture(config, "return out")
    path = Path("plugins/mine.py")
    start = "self.register_buffer('mean', torch.zeros(()))" if kept else "self.mean = torch.zeros(())"
    text = path.read_text().replace("self.heads =", f"{start}\n        self.heads =", 1)
    running = (
        "x = self.encoder(image)\n        if self.training:\n            "
        "self.mean = (self.mean + x.mean().detach()) / 2\n        return x - self.mean"
    )
    path.write_text(text.replace("return self.encoder(image)", running))
    if kept:
        assert rehearse(changed) == []
        return
    with pytest.raises(
        UserError, match=r"'mine': read from its file.*output 'final' of task 'semseg'.*register_buffer"
    ):
        rehearse(changed)


@pytest.mark.parametrize("draw", ["torch.rand(())", "__import__('numpy').random.rand()"])
def test_a_network_that_draws_numbers_when_it_predicts_is_let_through(config: RunConfig, draw: str) -> None:
    result = f"out['depth']['final'] = out['depth']['final'] + {draw}\n        return out"
    assert rehearse(with_architecture(config, result)) == []


def test_a_prediction_without_gradient_is_worth_a_word(config: RunConfig) -> None:
    result = 'out["depth"]["final"] = out["depth"]["final"].detach()\n        return out'
    assert rehearse(with_architecture(config, result)) == [
        "task 'depth' receives no gradient: its numbers would be those of an untrained head"
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return lossess.sum()", r"scheme 'mine', step 0: NameError in .*mine.py, line 7: name 'lossess'"),
        ("self.seen = losses\n        return losses", r"step 0: `total` must return a scalar tensor, got shape \(4,\)"),
        ("return losses.sum() * 1j", r"step 0: `total` must return a real number, got torch.complex64"),
        (
            "return losses.sum()\n\n    def get_extra_state(self):\n"
            "        return super().get_extra_state() | {'own': self}",
            r"scheme 'mine': its state cannot be saved and restored \((Unp|P)icklingError: .*keep numbers, text",
        ),
        (
            "return losses.sum()\n\n    def end_epoch(self):\n        super().end_epoch()\n        self.no.close()",
            r"AttributeError in .*mine.py, line 11",
        ),
    ],
)
def test_a_fault_of_a_scheme_is_named_with_file_and_line(config: RunConfig, body: str, said: str) -> None:
    Path("plugins/mine.py").write_text(SCHEME.replace("BODY", body))
    mine = config.model_copy(update={"scheme": PluginConfig(name="mine")})
    with pytest.raises(UserError, match=said):
        rehearse(mine)
    with pytest.raises(UserError, match=said):
        rehearse(config, [mine])


def test_a_scheme_that_gives_a_task_no_weight_is_worth_a_word(config: RunConfig) -> None:
    Path("plugins/mine.py").write_text(SCHEME.replace("BODY", "return losses[:3].sum()"))
    said = rehearse(config.model_copy(update={"scheme": PluginConfig(name="mine")}))
    assert said == ["task 'edge' receives no gradient: its numbers would be those of an untrained head"]


def test_a_scheme_whose_first_weights_are_no_numbers_is_refused(config: RunConfig) -> None:
    Path("plugins/mine.py").write_text(SCHEME.replace("BODY", "return losses.sum() * float('nan')"))
    with pytest.raises(UserError, match="scheme 'mine', task 'semseg', step 0: the weight is nan"):
        rehearse(config.model_copy(update={"scheme": PluginConfig(name="mine")}))


def test_a_scheme_that_diverges_later_is_worth_a_word(config: RunConfig) -> None:
    body = "return losses.sum() * (float('nan') if self.steps > 1 else 1)"
    Path("plugins/mine.py").write_text(SCHEME.replace("BODY", body))
    (said,) = rehearse(config.model_copy(update={"scheme": PluginConfig(name="mine")}))
    assert said.startswith("scheme 'mine' diverges on synthetic test images: ")


def test_a_network_that_gives_no_numbers_is_refused_by_its_name(config: RunConfig) -> None:
    result = 'out["depth"]["final"] = out["depth"]["final"] / 0 * 0\n        return out'
    with pytest.raises(UserError, match="architecture 'mine': output 'final' of task 'depth' is not finite in the f"):
        rehearse(with_architecture(config, result))


def test_a_network_whose_loss_overflows_is_refused_by_its_name(config: RunConfig) -> None:
    result = 'out["normals"]["final"] = out["normals"]["final"] * 1e30\n        return out'
    config = config.model_copy(update={"tasks": {**config.tasks, "normals": TaskConfig(loss="normals_mse")}})
    with pytest.raises(UserError, match=r"architecture 'mine': loss of task 'normals' became (inf|nan) at step 0"):
        rehearse(with_architecture(config, result))


def test_a_network_whose_gradient_is_no_number_is_refused_by_its_name(config: RunConfig) -> None:
    """The square root of zero has a value, and no slope: 0 times infinity."""
    result = 'zero = (0 * out["depth"]["final"]).sqrt()\n        out["depth"]["final"] = zero + 1\n        return out'
    with pytest.raises(UserError, match="architecture 'mine': a gradient is not finite in the first step"):
        rehearse(with_architecture(config, result))


def test_a_large_benchmark_is_rehearsed_at_a_small_size(config: RunConfig) -> None:
    """480 x 640 would take minutes; an encoder of one size alone gets its own."""
    large = with_architecture(config.model_copy(update={"height": 480, "width": 640}), "return out[size]")
    with pytest.raises(UserError, match=r"KeyError in .*mine.py, line 18: \(96, 128\)"):
        rehearse(large)
