"""Parts whose form differs from their definition equal it; checkpointing changes nothing but memory."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.swin_transformer import shifted_window_attention
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoderEncoderLayer as LibraryLayer

from mtcp.core.tasks import make_task
from mtcp.models import swin
from mtcp.models.cbam import CBAM, ChannelGate, Gated
from mtcp.models.checkpointing import recomputed
from mtcp.models.decoder import FPN, HFP
from mtcp.models.deformable import DeformableLayer
from mtcp.models.heads import DepthHead, auxiliary_head, task_head
from mtcp.models.layers import Projection, project, resampled, resize
from mtcp.models.refinement import SRM, joint_projection
from mtcp.models.swin import WINDOW, PatchMerging, from_windows, shift_mask, to_windows


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


#: The last three have tokens enough for a convolution; 257 are no rectangle.
@pytest.mark.parametrize(
    "shape", [(2, 5, 7, 64), (1, 1, 1, 128), (3, 16, 4, 16), (12, 49, 96), (2, 24, 32, 64), (1, 257, 64)]
)
@pytest.mark.parametrize("bias", [True, False])
def test_projection_is_a_linear_map_forward_and_backward(shape, bias):
    layer = Projection(shape[-1], 256, bias=bias)
    x = torch.randn(shape, requires_grad=True)
    own, expected = layer(x), F.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(own, expected)
    weights = torch.randn_like(own)
    for a, b in zip(
        torch.autograd.grad(own, (x, layer.weight), weights),
        torch.autograd.grad(expected, (x, layer.weight), weights),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "steps", [[((18, 24), False)], [((12, 16), True), ((25, 31), False)], [((6, 8), True), ((18, 24), False)]]
)
def test_small_maps_are_enlarged_as_the_library_does_forward_and_backward(steps):
    x = torch.randn(2, 5, 6, 8, requires_grad=True)
    own, expected = resampled(x, *steps), x
    for size, corners in steps:
        expected = F.interpolate(expected, size=size, mode="bilinear", align_corners=corners)
    assert "Upsample" not in type(own.grad_fn).__name__
    torch.testing.assert_close(own, expected, atol=2e-6, rtol=2e-6)
    upstream = torch.randn_like(own)
    for a, b in zip(torch.autograd.grad(own, x, upstream), torch.autograd.grad(expected, x, upstream), strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("pred_size", [(12, 16), (6, 8), (3, 4)])
def test_joint_projection_is_the_projection_of_the_concatenation(pred_size):
    conv = nn.Linear(24 + 40, 16)
    pred, feature = torch.randn(2, *pred_size, 24), torch.randn(2, 6, 8, 40)
    expected = conv(torch.cat((resize(pred, 6, 8), feature), -1))
    torch.testing.assert_close(joint_projection(conv, pred, feature), expected, atol=1e-5, rtol=1e-5)


def test_layers_of_the_pixel_decoder_equal_the_librarys():
    shapes = [(2, 3), (5, 4), (8, 9)]
    tokens = sum(height * width for height, width in shapes)
    layer = LibraryLayer(Mask2FormerConfig(feature_size=32, encoder_feedforward_dim=48, num_attention_heads=4)).train()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    hidden = torch.randn(2, tokens, 32, requires_grad=True)
    arguments = {
        "attention_mask": torch.zeros(2, tokens, dtype=torch.bool),
        "position_embeddings": torch.randn(2, tokens, 32),
        # Some of the points lie outside the map, where zeros are read.
        "reference_points": torch.rand(2, tokens, 3, 2),
        "spatial_shapes_list": shapes,
        "level_start_index": None,
    }
    leaves, upstream = (hidden, *layer.parameters()), torch.randn(2, tokens, 32)
    results = []
    for kind in (LibraryLayer, DeformableLayer):
        layer.__class__ = kind
        (out,) = layer(hidden, **arguments)
        results.append((out, *torch.autograd.grad(out, leaves, upstream)))
    for expected, own in zip(*results, strict=True):
        torch.testing.assert_close(own, expected, atol=1e-4 * expected.abs().max().item(), rtol=1e-4)


def test_depth_head_equals_its_definition():
    head, x = DepthHead(16), torch.randn(2, 5, 6, 16)
    with torch.no_grad():
        hidden = F.interpolate(head.conv1(x).permute(0, 3, 1, 2), scale_factor=2, mode="bilinear", align_corners=True)
        hidden = F.relu(head.conv2(hidden.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        expected = F.interpolate(head.conv3(hidden), size=(21, 25), mode="bilinear", align_corners=False)
        torch.testing.assert_close(head(x, (21, 25)), expected, atol=1e-6, rtol=1e-5)


def test_windows_come_back_in_place():
    x = torch.arange(2 * 14 * 21 * 3.0).view(2, 14, 21, 3)
    windows = to_windows(x)
    assert windows.shape == (2 * 6, 49, 3)
    assert torch.equal(windows[1, :, 0].view(7, 7), x[0, :7, 7:14, 0])
    assert torch.equal(from_windows(windows, 14, 21), x)


def test_shift_mask_separates_what_the_shift_brought_together():
    # One window: after a shift by 3 rows and columns, the last three rows and columns came from the other side.
    mask = shift_mask(7, 7, 3, torch.device("cpu"))[0, 0].view(7, 7, 7, 7)
    assert mask[0, 0, 3, 3] == 0
    assert mask[0, 0, 4, 0] == -100
    assert mask[5, 1, 6, 2] == 0
    assert mask[5, 5, 5, 0] == -100
    # Two windows beside each other: the first one is untouched along the width.
    assert (shift_mask(7, 14, 3, torch.device("cpu"))[0, 0].view(7, 7, 7, 7)[0, :, 0, :] == 0).all()


def test_patch_merging_orders_corners_row_first_and_pads_odd_sizes():
    merging = PatchMerging(1)
    merging.norm = nn.Identity()
    merging.reduction = nn.Identity()
    seen = merging(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]).view(1, 3, 3, 1))
    assert seen.shape == (1, 2, 2, 4)
    assert seen[0, 0, 0].tolist() == [1, 4, 2, 5]
    assert seen[0, 1, 1].tolist() == [9, 0, 0, 0]


@pytest.mark.parametrize("size", [(7, 7), (3, 4), (1, 1), (9, 13)])
def test_decoder_takes_maps_of_any_size(size):
    maps = HFP(8)(torch.randn(1, *size, 8))
    expected = [size]
    for _ in range(2):
        expected.append(tuple(-(-side // 2) for side in expected[-1]))
    assert [tuple(level.shape[1:3]) for level in maps] == expected
    assert FPN([8, 16, 32], 8)(maps).shape == (1, *size, 8)


@pytest.mark.parametrize("size", [(14, 21), (9, 16)])
@pytest.mark.parametrize("shift", [0, 3])
def test_windows_are_shifted_as_in_the_library(shift, size):
    attention, x = swin.WindowAttention(8, 2, shift), torch.randn(2, *size, 8)
    nn.init.normal_(attention.relative_position_bias_table)
    bias = attention.relative_position_bias_table[attention.relative_position_index].view(49, 49, 2).permute(2, 0, 1)
    expected = shifted_window_attention(
        x, attention.qkv.weight, attention.proj.weight, bias[None], [7, 7], 2, [shift, shift],
        qkv_bias=attention.qkv.bias, proj_bias=attention.proj.bias,
    )  # fmt: skip
    torch.testing.assert_close(attention(x), expected)


def test_padded_tokens_are_keys():
    # A map of 3x4 tokens in a window of 49: 37 keys are padding, so that even a constant value is diluted by them.
    attention = HFP(8).stages[0].blocks[0].attn
    with torch.no_grad():
        attention.qkv.weight.zero_()
        attention.qkv.weight[16:].copy_(torch.eye(8))
        attention.qkv.bias.zero_()
        attention.relative_position_bias_table.zero_()
        attention.proj.weight.copy_(torch.eye(8))
        attention.proj.bias.zero_()
        out = attention(torch.ones(1, 3, 4, 8))
    torch.testing.assert_close(out, torch.full((1, 3, 4, 8), 12 / WINDOW**2))


def test_head_kinds_follow_task_and_layout():
    semseg, sal = make_task("semseg", classes=5), make_task("sal")
    assert task_head(semseg, 8, 4).upsample == 4
    assert task_head(sal, 8, 4).upsample == 1
    assert isinstance(task_head(make_task("depth"), 8, 4), DepthHead)
    deep = type(auxiliary_head(sal, 8, "nyud"))
    assert type(auxiliary_head(semseg, 8, "pascal")) is deep
    assert type(auxiliary_head(sal, 8, "pascal")) is not deep


@pytest.mark.parametrize(
    ("layout", "biased"), [("pascal", {"norm.bias", "conv2.bias"}), ("nyud", {"norm.bias", "conv3.bias"})]
)
def test_of_a_heads_convolutions_the_last_alone_has_a_bias(layout, biased):
    head = auxiliary_head(make_task("sal"), 8, layout)
    assert {name for name, _ in head.named_parameters() if name.endswith("bias")} == biased


@pytest.mark.parametrize(
    "head", [lambda task: task_head(task, 16, 2), lambda task: auxiliary_head(task, 16, "nyud")], ids=["final", "aux"]
)
def test_heads_predict_the_start_before_training(head):
    x = 0.01 * torch.randn(2, 5, 6, 16)
    means = [head(make_task("depth", bias_initialisation=bias))(x, (20, 24)).mean().item() for bias in (None, 2.5)]
    assert abs(means[0]) < 1
    assert means[1] == pytest.approx(2.5, abs=1)


def test_last_refinement_has_no_feature_branch():
    module = SRM(8, 16, 4, feature_branch=False)
    assert not any("feature_conv" in name or "feature_norm" in name for name, _ in module.named_parameters())
    refined, travelling = module(torch.randn(2, 3, 4, 8), torch.randn(2, 6, 8, 16))
    assert refined.shape == (2, 6, 8, 4)
    assert travelling is None


def test_recomputation_gives_equal_gradients_and_counts_no_batch_twice():
    plain, lean = CBAM(16), CBAM(16)
    lean.load_state_dict(plain.state_dict())
    x = torch.randn(2, 6, 5, 16, requires_grad=True)
    gradients = []
    for module, run in ((plain, plain), (lean, lambda value: recomputed(lean, value))):
        out = run(x)
        gradients.append(torch.autograd.grad((out**2).sum(), [x, *module.parameters()]))
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)
    for (name, a), b in zip(plain.state_dict().items(), lean.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert lean.spatial.norm.num_batches_tracked == 1


def test_large_blocks_are_computed_again_to_the_same_gradients(monkeypatch):
    block, x = swin.Block(8, 2, shift=3), torch.randn(2, 9, 4, 8, requires_grad=True)
    gradients = []
    for large in (1 << 20, 0):
        monkeypatch.setattr(swin, "LARGE", large)
        gradients.append(torch.autograd.grad(block(x).square().sum(), [x, *block.parameters()]))
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_gate_has_the_gradient_of_the_product():
    factors = [torch.randn(shape, requires_grad=True) for shape in ((2, 3, 4, 8), (2, 1, 1, 8), (2, 3, 4, 1))]
    out = Gated.apply(*factors)
    weights = torch.randn_like(out)
    expected = torch.autograd.grad(factors[0] * factors[1] * factors[2], factors, weights)
    for a, b in zip(torch.autograd.grad(out, factors, weights), expected, strict=True):
        torch.testing.assert_close(a, b)


def test_the_channel_gate_reads_maxima_and_sends_their_gradient_to_the_first_of_equals():
    gate = ChannelGate(8)
    x = torch.randn(2, 3, 4, 8).relu_()
    x[0, ..., 0] = 0.0
    x.requires_grad_()
    tokens = x.flatten(1, 2)
    pooled = torch.stack((tokens.mean(1), tokens.max(1).values), 1)
    expected = gate.fc2(gate.fc1(pooled).relu()).sum(1).sigmoid()[:, None, None]
    weights = torch.randn(2, 1, 1, 8)
    assert torch.equal(gate(x), expected)
    own, usual = (torch.autograd.grad(out, x, weights)[0] for out in (gate(x), expected))
    assert own[0, 0, 0, 0] != own[0, 0, 1, 0] == own[0, 2, 3, 0]
    torch.testing.assert_close(own, usual)
    together = torch.autograd.grad(gate(x), x, torch.stack((weights, -weights)), is_grads_batched=True)[0]
    torch.testing.assert_close(together[0], usual)


def test_project_leaves_small_products_to_blas():
    x = torch.randn(1, 3, 3, 8)
    assert torch.equal(project(x, torch.eye(8)), x)
