"""The loss-weighting literature's networks: parameter counts as published code has them, and output conventions."""

import pytest
import torch

from mtcp.api import BuildContext, load_plugin, plugin_parameters
from mtcp.core.errors import UserError
from mtcp.core.images import IMAGENET_MEAN, IMAGENET_STD
from mtcp.core.project import Project
from mtcp.core.run_config import EncoderConfig
from mtcp.core.tasks import make_task

NYUV2 = (make_task("semseg", classes=13), make_task("depth"), make_task("normals"))
CITYSCAPES = (make_task("semseg", classes=7), make_task("depth"))
RESNET = EncoderConfig(kind="timm", model="resnet50", args={"output_stride": 8, "out_indices": [4]})


def build(name, tasks=NYUV2, width=64):
    context = BuildContext(
        tasks=tasks, layout="mtan_nyuv2", size=(64, 96), encoder=RESNET, channels=width, upsample=1, seeds=("test", 0)
    )
    return load_plugin("architecture", name)(context, plugin_parameters("architecture", name, {}))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "nyuv2", "cityscapes"),
    [
        ("segnet_mtan", 44_229_073, 41_206_984),
        ("segnet_split", 25_055_185, 25_017_672),
        ("resnet_aspp", 71_888_721, 55_760_968),
        ("segnet_single_task", 24_981_069 + 24_980_289 + 24_980_419, 24_943_296 * 2 + 74_376),
    ],
)
def test_parameter_counts(name, nyuv2, cityscapes):
    with torch.device("meta"):
        assert count(build(name)) == nyuv2
        assert count(build(name, CITYSCAPES)) == cityscapes


def test_where_the_parameters_of_mtan_lie():
    with torch.device("meta"):
        network = build("segnet_mtan")
    assert count(network.heads) == 111_889
    assert [count(attention) for attention in network.attention.values()] == [2_984_576] * 3
    assert count(network.encoder) + count(network.between) == 35_163_456


def test_resnets_backbone_has_stride_8_and_two_thirds_of_the_parameters_are_heads():
    with torch.device("meta"):
        network = build("resnet_aspp")
    assert count(network.encoder) == 23_508_032
    assert count(network.heads) / count(network) == pytest.approx(2 / 3, abs=0.01)
    with torch.no_grad():
        assert network.eval().to_empty(device="cpu").encoder(torch.zeros(1, 3, 64, 96)).shape == (1, 2048, 8, 12)


@pytest.mark.parametrize("name", ["resnet_aspp", "resnet_aspp_single_task"])
def test_resnet_outputs_keep_the_conventions(name):
    tiny = RESNET.model_copy(update={"model": "resnet10t", "args": {"output_stride": 8, "out_indices": [4]}})
    context = BuildContext(NYUV2, "mtan_nyuv2", (48, 64), tiny, 8, 1, ("test", 0))
    network = load_plugin("architecture", name)(context, plugin_parameters("architecture", name, {}))
    outputs = network(torch.randn(2, 3, 48, 64))
    assert [tuple(found["final"].shape) for found in outputs.values()] == [(2, c, 48, 64) for c in (13, 1, 3)]
    torch.testing.assert_close(outputs["normals"]["final"].norm(dim=1), torch.ones(2, 48, 64))
    with pytest.raises(UserError, match="a single value per channel in ASPP's image pooling"):
        network(torch.randn(1, 3, 48, 64))
    network.eval()(torch.randn(1, 3, 48, 64))


@pytest.mark.parametrize("method", ["libmtl_equal", "libmtl_single_task"])
def test_no_batch_of_the_published_benchmark_holds_one_image(root, method):
    """795 images in batches of 2: the last one would."""
    training = Project(root).resolve("nyuv2_13_as_published", method, 0).training
    assert training.batch_size == 2 and not training.keep_last_batch


def test_networks_see_rgb_between_0_and_1():
    seen = []
    network = build("segnet_split", width=4)
    network.encoder.encoder[0][0].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    raw = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    network((raw - mean) / std)
    torch.testing.assert_close(seen[0], raw)


@pytest.mark.parametrize("name", ["segnet_mtan", "segnet_split", "segnet_single_task"])
@pytest.mark.parametrize("size", [(64, 96), (72, 100)])  # the second is not a multiple of 32
def test_outputs_keep_the_conventions(name, size):
    torch.manual_seed(0)
    outputs = build(name, width=4)(torch.randn(2, 3, *size))
    assert {task: tuple(found["final"].shape) for task, found in outputs.items()} == {
        "semseg": (2, 13, *size), "depth": (2, 1, *size), "normals": (2, 3, *size)
    }  # fmt: skip
    torch.testing.assert_close(outputs["semseg"]["final"].exp().sum(1), torch.ones(2, *size))
    torch.testing.assert_close(outputs["normals"]["final"].norm(dim=1), torch.ones(2, *size))
    assert (outputs["depth"]["final"] < 0).any()  # no activation keeps depth positive


def test_the_start_is_xavier_normal_and_the_same_wherever_the_body_stands():
    split, single = build("segnet_split", width=16), build("segnet_single_task", width=16)
    for body in single.bodies.values():
        for ours, theirs in zip(split.encoder.parameters(), body.parameters(), strict=True):
            assert torch.equal(ours, theirs)
    weight = split.encoder.encoder[2][1][0][0].weight  # 64 to 64 channels, 3x3
    assert weight.std().item() == pytest.approx((2 / (2 * 64 * 9)) ** 0.5, rel=0.05)
    assert split.encoder.encoder[2][1][0][0].bias.abs().max() == 0


def test_masks_of_mtan_gate_what_the_heads_read():
    torch.manual_seed(0)
    network, image = build("segnet_mtan", width=4).eval(), torch.randn(1, 3, 64, 64)
    closed = network.attention["depth"].up[0][-2]  # the last BatchNorm before the sigmoid
    with torch.no_grad():
        before = network(image)
        closed.weight.zero_()
        closed.bias.fill_(-1e4)
        after = network(image)
    constant = network.heads["depth"].layers
    expected = constant(torch.zeros(1, 4, 64, 64))
    torch.testing.assert_close(after["depth"]["final"], expected)
    torch.testing.assert_close(after["normals"]["final"], before["normals"]["final"])
