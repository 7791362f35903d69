"""Batch normalisation on channels-last CPU tensors agrees with the library in float64, forward and backward."""

import pytest
import torch
from torch import nn

from mtcp.core.run_config import EncoderConfig
from mtcp.core.tasks import make_task
from mtcp.models.architecture import BuildContext
from mtcp.models.encoders import build_encoder
from mtcp.models.normalisation import FEW_VALUES, BatchNorm, BatchNorm2d
from mtcp.models.timm_layers import use_precise_norms

SHAPES = [(2, 24, 48, 64), (2, 8, 120, 160), (1, 5, 61, 97), (3, 16, 4, 6)]


def results(layer: nn.Module, x: torch.Tensor, upstream: torch.Tensor) -> dict[str, torch.Tensor]:
    x = x.detach().requires_grad_()
    out = layer(x)
    gradients = torch.autograd.grad(out, [x, layer.weight, layer.bias], upstream)
    return (
        {"out": out.detach()} | dict(zip(("x", "weight", "bias"), gradients, strict=True)) | dict(layer.named_buffers())
    )


@pytest.fixture(params=SHAPES, ids=str)
def case(request):
    generator = torch.Generator().manual_seed(0)
    shape = request.param
    mean = 3 * torch.randn(shape[1], generator=generator)[:, None, None]
    x = (torch.randn(shape, generator=generator) + mean).contiguous(memory_format=torch.channels_last)
    upstream = torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
    exact = nn.BatchNorm2d(shape[1], dtype=torch.float64)
    nn.init.uniform_(exact.weight, 0.5, 1.5, generator=generator)
    return exact, x, upstream


def test_statistics_and_gradients_agree_with_float64(case):
    exact, x, upstream = case
    own = BatchNorm2d(x.shape[1])
    own.weight.data.copy_(exact.weight)
    expected = results(exact, x.double(), upstream.double())
    for name, found in results(own, x, upstream).items():
        bound = 2e-6 * expected[name].abs().max()
        assert (found.double() - expected[name]).abs().max() <= bound, name
    assert own.num_batches_tracked == 1


def test_the_library_alone_is_less_precise():
    # What the layer is for: where this no longer holds, the library adds up in a tree, and the layer can go.
    x = (torch.randn(2, 8, 120, 160) + 3).contiguous(memory_format=torch.channels_last)
    variance = x.double().var((0, 2, 3))
    errors = []
    for kind in (nn.BatchNorm2d, BatchNorm2d):
        layer = kind(8, momentum=1.0)
        layer(x)
        errors.append(((layer.running_var - variance).abs() / variance).max().item())
    assert errors[1] < 3e-7 < errors[0]


def test_channels_last_layer_is_the_same_layer():
    x = torch.randn(2, 48, 64, 6) + 2
    first, second = BatchNorm(6), BatchNorm2d(6)
    torch.testing.assert_close(first(x).permute(0, 3, 1, 2), second(x.permute(0, 3, 1, 2)))
    torch.testing.assert_close(first.running_var, second.running_var)


def test_evaluation_uses_running_statistics(case):
    _, x, _ = case
    layer = BatchNorm2d(x.shape[1]).eval()
    torch.testing.assert_close(layer(x), x / (1 + layer.eps) ** 0.5)


@pytest.mark.parametrize("model", ["test_resnet", "test_efficientnet"])
def test_backbones_of_timm_follow_float64_as_contiguous_ones_do(model):
    context = BuildContext(
        tasks=(make_task("depth"),), layout="nyud", size=(96, 128), channels=16, upsample=2, seeds=("test", 0),
        encoder=EncoderConfig(kind="timm", model=model),
    )  # fmt: skip
    encoder = build_encoder(context)
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(isinstance(module, BatchNorm2d) for module in norms)
    names = list(encoder.state_dict())
    use_precise_norms(encoder)
    assert list(encoder.state_dict()) == names
    image = torch.randn(2, 3, 96, 128)
    assert image[:, 0, ::2, ::2].numel() > FEW_VALUES
    own, exact = encoder(image), encoder.double()(image.double())
    assert (own.double() - exact).abs().max() <= 2e-5 * exact.abs().max()
