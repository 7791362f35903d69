"""Architectures of the field agree with the outputs, and the gradients, of their public modules.

`vectors/architectures.npz` holds outputs under "<group>/<mode>.<task>.<output>" (arrays of more than 500 values: every
seventh value), the loss L = sum over tasks of mean(final^2) in training mode and the norms of its gradients by
channel; `architectures_parameters.json` the canonical names and shapes per group. Group "odd_sizes" is an independent
implementation, for sizes that the public modules refuse. Batch 2; tasks semseg (5 channels), depth, normals.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from values import value

from baselines.architectures.atrc import ATRC
from baselines.architectures.cross_stitch import CrossStitch
from baselines.architectures.invpt import InvPT
from baselines.architectures.mtan import MTAN
from baselines.architectures.mti_net import MTINet
from baselines.architectures.mtmamba import MTMamba
from baselines.architectures.nddr import NDDR
from baselines.architectures.pad_net import PADNet
from mtcp.core.run_config import EncoderConfig
from mtcp.core.tasks import make_task
from mtcp.models.architecture import BuildContext
from mtcp.models.blocks import ConvNorm, MultiScaleHead, gathered
from mtcp.models.maps import SCALES

HERE = Path(__file__).parent
TASKS = (make_task("semseg", classes=5), make_task("depth"), make_task("normals"))
SIZES = {4: (16, 24), 8: (8, 12), 16: (4, 6), 32: (2, 3)}
TALL = {4: (8, 16), 8: (4, 8), 16: (2, 4), 32: (1, 2)}
TALLER = {4: (16, 32), 8: (8, 16), 16: (4, 8), 32: (2, 4)}
ODD = {4: (6, 9), 8: (3, 5), 16: (2, 3), 32: (1, 2)}
WIDTHS, NARROW = (16, 24, 32, 40), (8, 16, 32, 64)


@pytest.fixture(scope="module")
def vectors():
    return np.load(HERE / "vectors/architectures.npz")


PARAMETERS = json.loads((HERE / "vectors/architectures_parameters.json").read_text())


def build(architecture, widths=WIDTHS, **parameters):
    context = BuildContext(
        tasks=TASKS,
        layout="nyud",
        size=(64, 96),
        encoder=EncoderConfig(kind="timm", model="resnet18", args={"channels": list(widths)}),
        channels=16,
        upsample=2,
        seeds=("reference", 0),
    )
    return architecture(context, architecture.Parameters(**parameters))


def load(module: nn.Module, group: str, renamed=lambda name: name, left_out=("encoder.",)) -> nn.Module:
    """Fill `module` with the reference parameters; all of them, and all of ours but those left out, have a partner."""
    own = module.state_dict()
    filled = set()
    for canonical, shape in PARAMETERS[group].items():
        name = renamed(canonical.removeprefix(f"{group}."))
        assert list(own[name].shape) == shape, name
        own[name].copy_(torch.from_numpy(value(canonical, tuple(shape))))
        filled.add(name)
    expected = {name for name in own if not name.startswith(left_out) and not name.endswith("num_batches_tracked")}
    assert expected <= filled
    return module


def inputs(group: str, names: dict[str, tuple[int, ...]]) -> list[torch.Tensor]:
    return [
        torch.from_numpy(value(f"input.{group}.{name}", shape))
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_()
        for name, shape in names.items()
    ]


def features(group, sizes, widths=WIDTHS, name="feature"):
    return {f"{name}{s}": (2, c, *sizes[s]) for s, c in zip(SCALES, widths, strict=True)}


def assert_agrees(vectors, key: str, result: torch.Tensor, relative: float | None = None) -> None:
    """max |difference| <= 1e-4 * max(1, max |reference|), or `relative` to the reference's maximum."""
    reference, flat = vectors[key], result.detach().contiguous().numpy().ravel()
    if flat.size > 500:
        flat = flat[::7]
    assert flat.shape == reference.shape, key
    bound = relative * np.abs(reference).max() if relative else 1e-4 * max(1.0, np.abs(reference).max())
    assert np.abs(flat - reference).max() <= bound, key


class Recorder:
    """Records what passes through modules in one forward pass: {key: tensor}."""

    def __init__(self):
        self.seen: dict[str, torch.Tensor] = {}

    def output(self, module, key, pick=lambda out: out):
        module.register_forward_hook(lambda _, args, out: self.seen.update({key: pick(out)}))

    def outputs(self, module, keys):
        module.register_forward_hook(lambda _, args, out: self.seen.update(keys(out)))

    def input(self, module, keys):
        module.register_forward_pre_hook(lambda _, args: self.seen.update(keys(args[0])))


def check(vectors, group, network, decode, leaves, recorder, loss_of=None, gradients=True, modes=("eval", "train")):
    """Compare every recorded and final output in every mode, and in training mode the loss and its gradients."""
    for mode in modes:
        network.train(mode == "train")
        recorder.seen.clear()
        outputs = decode(*leaves)
        found = dict(recorder.seen)
        for task, named in outputs.items():
            found.setdefault(f"{task}.final", named["final"])
        prefix = f"{group}/{mode}."
        expected = [key.removeprefix(prefix) for key in vectors if key.startswith(prefix)]
        expected = [key for key in expected if key.split(".")[0] in {task.name for task in TASKS}]
        assert expected
        for key in expected:
            assert_agrees(vectors, prefix + key, found[key])
        if mode == "train" and gradients:
            chosen = loss_of(found) if loss_of else [named["final"] for named in outputs.values()]
            loss = sum(output.square().mean() for output in chosen)
            check_gradients(vectors, group, loss, leaves)


def check_gradients(vectors, group, loss, leaves):
    """Compare the loss and, by channel, the norms of its gradients with respect to the inputs."""
    assert_agrees(vectors, f"{group}/train.loss", loss)
    keys = [key for key in vectors if key.startswith(f"{group}/train.gradient_norm.")]
    for key, gradient in zip(keys, torch.autograd.grad(loss, leaves), strict=True):
        assert_agrees(vectors, key, gradient.square().sum((0, 2, 3)).sqrt(), relative=1e-3)


def test_multi_scale_head_and_fusion(vectors):
    head = load(MultiScaleHead(list(WIDTHS), TASKS[0]), "multi_scale_head")
    fuse = nn.Module()
    fuse.add_module("layer", ConvNorm(sum(WIDTHS), sum(WIDTHS), bias=True))
    load(fuse, "fuse", lambda name: f"layer.{name}")
    for group, module, run in (
        ("multi_scale_head", head, head),
        ("fuse", fuse, lambda maps: F.relu(fuse.layer(gathered(maps)))),
    ):
        maps = inputs(group, features(group, ODD))
        for mode in ("eval", "train"):
            module.train(mode == "train")
            assert_agrees(vectors, f"{group}/{mode}.out", run(maps))


class ToyEncoder(nn.Module):
    """Stages of one 3x3 convolution of stride 2 and a ReLU."""

    def __init__(self):
        super().__init__()
        for before, scale, width in zip((3, *WIDTHS), SCALES, WIDTHS, strict=False):
            self.add_module(f"stage{scale}", nn.Conv2d(before, width, 3, stride=2, padding=1))

    def stage(self, index, x):
        x = F.relu(getattr(self, f"stage{SCALES[index]}")(x))
        return x, x


@pytest.mark.parametrize("architecture", [CrossStitch, NDDR])
def test_stitched(architecture, vectors):
    group, network = architecture.name, build(architecture)
    for task in TASKS:
        network.encoder.encoder[task.name] = ToyEncoder()
    named = {"encoder": "encoder.encoder", "unit4": "encoder.unit4"}
    named |= {"unit8": "encoder.unit8", "unit16": "encoder.unit16"}

    def renamed(name):
        first, rest = name.split(".", 1)
        return f"{named.get(first, first)}.{rest}"

    load(network, group, renamed, left_out=("head.",))
    recorder = Recorder()
    for task in TASKS:
        recorder.input(
            network.head[task.name],
            lambda maps, t=task.name: {f"{t}.{s}": level for s, level in zip(SCALES, maps, strict=True)},
        )
    image = inputs(group, {"image": (2, 3, 32, 48)})
    decode = lambda image: network.decode(network.encode(image), (16, 24))  # noqa: E731
    network.coarsest = 16
    modes = ("eval",) if architecture is CrossStitch else ("eval", "train")
    check(vectors, group, network, decode, image, recorder, gradients=False, modes=modes)


def mtan_maps(group, sizes, prefix=""):
    return {
        f"{prefix}{kind}{s}": (2, c, *sizes[s])
        for s, c in zip(SCALES, WIDTHS, strict=True)
        for kind in ("bottom", "top")
    }


def attended(network):
    recorder = Recorder()
    for task in TASKS:
        recorder.input(
            network.head[task.name],
            lambda maps, t=task.name: {f"{t}.{s}": level for s, level in zip(SCALES, maps, strict=True)},
        )
    return recorder


def test_mtan(vectors):
    network = load(build(MTAN), "mtan", left_out=("encoder.", "head."))
    maps = inputs("mtan", mtan_maps("mtan", SIZES))
    check(
        vectors, "mtan", network, lambda *maps: network.decode(list(maps), (16, 24)), maps, attended(network),
        loss_of=lambda found: [found[f"{task.name}.32"] for task in TASKS],
    )  # fmt: skip


def test_pad_net(vectors):
    network = load(build(PADNet, width=32), "pad_net")
    recorder = Recorder()
    for task in TASKS:
        recorder.output(network.initial[task.name].predict, f"{task.name}.initial")
        recorder.input(network.head[task.name], lambda x, t=task.name: {f"{t}.distilled": x})
    fused = inputs("pad_net", {"fused": (2, sum(WIDTHS), 12, 16)})
    check(vectors, "pad_net", network, lambda x: network.decode(x, (12, 16)), fused, recorder)


def mti_recorder(network):
    recorder = Recorder()
    for scale in SCALES:
        for task, initial in getattr(network, f"initial{scale}").items():
            recorder.output(initial.predict, f"{task}.initial{scale}")
        if scale > 4:
            recorder.outputs(
                getattr(network, f"fpm{scale}"), lambda out, s=scale: {f"{t}.propagated{s}": x for t, x in out.items()}
            )
    return recorder


def test_mti_net(vectors):
    network = load(build(MTINet), "mti_net")
    maps = inputs("mti_net", features("mti_net", SIZES))
    decode = lambda *maps: network.decode(list(maps), (16, 24))  # noqa: E731
    check(vectors, "mti_net", network, decode, maps, mti_recorder(network))


def test_atrc(vectors):
    network = load(build(ATRC, dropout=0), "atrc")
    recorder = Recorder()
    recorder.output(network.reduce["semseg"], "semseg.reduced", F.relu)
    recorder.output(network.context["semseg"]["depth"], "semseg.context_of_depth")
    maps = inputs("atrc", features("atrc", SIZES))
    check(vectors, "atrc", network, lambda *maps: network.decode(list(maps), (16, 24)), maps, recorder)


def invpt(size=(64, 128)):
    network = load(
        build(InvPT, embedding=24, extra=8),
        "invpt",
        lambda name: f"encoder.{name}" if name.startswith("skip") else name,
        left_out=("encoder.maps.",),
    )
    recorder = Recorder()
    for task in TASKS:
        recorder.output(network.initial[task.name].predict, f"{task.name}.initial")
        recorder.output(network.head[task.name].predict, f"{task.name}.final")
    for index in range(3):
        stage = getattr(network, f"stage{index}")
        recorder.output(stage, f"depth.stage{index}", lambda out: out[0][:, 1].permute(0, 3, 1, 2))

    def decode(map8, map16, map32):
        encoder = network.encoder
        return network.decode([map32, encoder.skip16(map16), encoder.skip8(map8)], size)

    return network, decode, recorder


@pytest.mark.parametrize("whole_map", [1024, 1])
def test_invpt(vectors, whole_map, monkeypatch):
    monkeypatch.setattr("mtcp.models.attention.WHOLE_MAP", whole_map)
    network, decode, recorder = invpt()
    shapes = features("invpt", TALLER)
    del shapes["feature4"]
    check(vectors, "invpt", network, decode, inputs("invpt", shapes), recorder, loss_of=finals)


def finals(found):
    return [found[f"{task.name}.final"] for task in TASKS]


def mtmamba():
    network = load(build(MTMamba, NARROW, states=4, drop_path=0), "mtmamba")
    recorder = Recorder()
    for scale in (16, 8, 4):
        recorder.outputs(
            getattr(network, f"stage{scale}")["cross"],
            lambda out, s=scale: {f"{t}.stage{s}": x.permute(0, 3, 1, 2) for t, x in out.items()},
        )
    return network, recorder


@pytest.mark.parametrize("group", [1 << 22, 1])
def test_mtmamba(vectors, group, monkeypatch):
    monkeypatch.setattr("baselines.architectures.selective_scan.GROUP", group)
    network, recorder = mtmamba()
    maps = inputs("mtmamba", features("mtmamba", TALL, NARROW))
    decode = lambda *maps: network.decode(list(maps), (32, 64))  # noqa: E731
    check(vectors, "mtmamba", network, decode, maps, recorder, modes=("eval",))
    network.train()
    loss = sum(named["final"].square().mean() for named in decode(*maps).values())
    check_gradients(vectors, "mtmamba", loss, maps)


def test_odd_sizes(vectors):
    found = {}
    network = load(build(MTAN), "mtan", left_out=("encoder.", "head."))
    recorder = attended(network)
    network.eval().decode(inputs("mtan", mtan_maps("mtan", ODD, "odd_")), (6, 9))
    found |= {f"mtan.{key}": x for key, x in recorder.seen.items()}

    network = load(build(MTINet), "mti_net")
    recorder = mti_recorder(network)
    out = network.eval().decode(inputs("mti_net", features("mti_net", ODD, name="odd_feature")), (6, 9))
    found |= {f"mti_net.{key}": x for key, x in recorder.seen.items()}
    found |= {f"mti_net.{task}.final": named["final"] for task, named in out.items()}

    network, decode, recorder = invpt(size=(24, 36))
    network.eval()
    decode(*inputs("invpt", features("invpt", ODD, name="odd_feature"))[1:])
    found |= {f"invpt.{key}": x for key, x in recorder.seen.items()}

    network, recorder = mtmamba()
    out = network.eval().decode(inputs("mtmamba", features("mtmamba", ODD, NARROW, "odd_feature")), (24, 36))
    found |= {f"mtmamba.{key}": x for key, x in recorder.seen.items()}
    found |= {f"mtmamba.{task}.final": named["final"] for task, named in out.items()}

    for key in vectors:
        if key.startswith("odd_sizes/"):
            assert_agrees(vectors, key, found[key.removeprefix("odd_sizes/eval.")])
