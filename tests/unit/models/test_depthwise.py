"""Depthwise convolutions: the gradient is the library's, in single and double precision, for any stride and padding."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mtcp.models.depthwise import Depthwise, DepthwiseFunction, depthwise, is_depthwise

SIDES = st.integers(1, 9)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(SIDES, SIDES), kernel=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)), biased=st.booleans(), padded=st.booleans(),
    images=st.integers(1, 3), channels=st.integers(1, 5), last=st.booleans(),
)  # fmt: skip
def test_gradients_are_those_of_the_library(size, kernel, stride, biased, padded, images, channels, last) -> None:
    padding = (kernel[0] // 2, kernel[1] // 2) if padded else (0, 0)
    assume(all(side + 2 * pad >= length for side, pad, length in zip(size, padding, kernel, strict=True)))
    x = torch.randn(images, channels, *size, dtype=torch.float64)
    x = (x.to(memory_format=torch.channels_last) if last else x).requires_grad_()
    weight = torch.randn(channels, 1, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(channels, dtype=torch.float64, requires_grad=True) if biased else None
    own = DepthwiseFunction.apply(x, weight, bias, stride, padding)
    library = F.conv2d(x, weight, bias, stride, padding, groups=channels)
    torch.testing.assert_close(own, library)
    inputs, towards = [each for each in (x, weight, bias) if each is not None], torch.randn_like(library)
    found, expected = (torch.autograd.grad(result, inputs, towards) for result in (own, library))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "channels", "own"),
    [
        (2, 3, 1, 2048, True),
        (4, 5, 1, 2048, True),
        (3, 5, 2, 2048, True),
        (6, 5, 1, 2048, False),
        (4, 5, 1, 1536, False),
    ],
)
def test_maps_smaller_than_the_filter_take_the_own_gradient(side, kernel, stride, channels, own) -> None:
    layer = Depthwise(channels, channels, kernel, stride, kernel // 2, groups=channels)
    x = torch.randn(2, channels, side, side).to(memory_format=torch.channels_last).requires_grad_()
    result = layer(x)
    assert ("DepthwiseFunction" in type(result.grad_fn).__name__) == own
    expected = F.conv2d(x, layer.weight, layer.bias, stride, kernel // 2, groups=channels)
    torch.testing.assert_close(result, expected)
    inputs, towards = [x, *layer.parameters()], torch.randn_like(expected)
    found, known = (torch.autograd.grad(each, inputs, towards) for each in (result, expected))
    torch.testing.assert_close(found, known, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert layer(x).grad_fn is None


def test_tasks_gradients_can_be_taken_at_once() -> None:
    x, weight = torch.randn(2, 2048, 3, 3), torch.randn(2048, 1, 5, 5, requires_grad=True)
    result = depthwise(x, weight, None, (1, 1), (2, 2))
    towards = torch.randn(3, *result.shape)
    (together,) = torch.autograd.grad(result, weight, towards, is_grads_batched=True, retain_graph=True)
    each = torch.stack([torch.autograd.grad(result, weight, one, retain_graph=True)[0] for one in towards])
    torch.testing.assert_close(together, each, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(4, 4, 5, padding=2, groups=4), True),
        (nn.Conv2d(4, 8, 5, padding=2, groups=4), False),
        (nn.Conv2d(4, 4, 5, padding=2, groups=2), False),
        (nn.Conv2d(4, 4, 5, padding=4, dilation=2, groups=4), False),
        (nn.Conv2d(4, 4, 5, padding="same", groups=4), False),
        (nn.Conv2d(4, 4, 5, padding=2, padding_mode="reflect", groups=4), False),
    ],
)
def test_what_is_no_plain_depthwise_layer_is_left_alone(layer: nn.Conv2d, expected: bool) -> None:
    assert is_depthwise(layer) == expected


def test_timms_layers_compute_and_are_called_the_same() -> None:
    import timm

    from mtcp.models.timm_layers import use_quick_depthwise

    for model in ("tf_efficientnet_lite0", "convnext_atto"):
        torch.manual_seed(0)
        plain = timm.create_model(model, features_only=True)
        own = timm.create_model(model, features_only=True)
        own.load_state_dict(plain.state_dict())
        use_quick_depthwise(own)
        assert list(own.state_dict()) == list(plain.state_dict())
        image, found = torch.randn(2, 3, 64, 96), []
        for network in (plain, own):
            torch.stack([each.square().mean() for each in network.eval()(image)]).sum().backward()
            found.append([parameter.grad for parameter in network.parameters() if parameter.grad is not None])
        named = [type(module).__name__ for module in own.modules()]
        assert "Depthwise" in named and (model == "convnext_atto" or "_DepthwiseSame" in named)
        for first, second in zip(*found, strict=True):
            assert (first - second).norm() <= 1e-3 * first.norm() + 1e-7
