"""Depthwise convolutions whose gradient is quick on a CPU where the map is smaller than the filter."""

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: With fewer channels, those of all images counted, the gain is small, and lost where several threads share the work.
MANY_CHANNELS: Final = 4096

Pair = tuple[int, int]


class DepthwiseFunction(torch.autograd.Function):
    """(x, w, b, stride, padding) -> y, one filter per channel: x (B, C, H, W), w (C, 1, k, l), b (C) or None.

    The gradient of the filters is a depthwise convolution as well, with the gradient g of y as filters:
    dw[c, i, j] = sum over images and positions (n, m) of x_padded[c, s n + i, t m + j] g[c, n, m], for strides s and t.
    As one image of B C channels, it runs in oneDNN's forward kernel. Its own gradient has no quick kernel for maps that
    are smaller than the filter, as at the end of an encoder on small images (docs/performance.md).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None, Pair, Pair], output: Tensor) -> None:
        x, weight, bias, ctx.stride, ctx.padding = inputs
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        channels = len(weight)
        # The bias apart: asked for it, the library computes the gradient of the filters, too.
        dx, _, _ = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, ctx.stride, ctx.padding, [1, 1], False, [0, 0], channels,
            [ctx.needs_input_grad[0], False, False],
        )  # fmt: skip
        db = gradient.sum((0, 2, 3)) if ctx.biased else None
        rows, columns = ctx.padding
        padded = F.pad(x, (columns, columns, rows, rows))
        images = len(x) * channels
        one = padded.permute(2, 3, 0, 1).reshape(1, *padded.shape[-2:], images).permute(0, 3, 1, 2)
        filters = gradient.reshape(images, 1, *gradient.shape[-2:])
        products = F.conv2d(one, filters, dilation=ctx.stride, groups=images)
        # Rows and columns at the end that no stride reaches give further values.
        dw = products.view(len(x), *weight.shape[:1], *products.shape[-2:]).sum(0)
        return dx, dw[:, None, : weight.shape[-2], : weight.shape[-1]], db, None, None


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
    """`F.conv2d` of x (B, C, H, W) with one filter per channel, w (C, 1, k, l)."""
    if _slow_gradient(x, weight):
        return DepthwiseFunction.apply(x, weight, bias, stride, padding)
    return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))


class Depthwise(nn.Conv2d):
    """`nn.Conv2d` with one filter per channel; see `depthwise`."""

    padding: Pair  # pyright: ignore[reportIncompatibleVariableOverride]

    def forward(self, input: Tensor) -> Tensor:
        return depthwise(input, self.weight, self.bias, self.stride, self.padding)  # pyright: ignore[reportArgumentType]


def is_depthwise(module: nn.Conv2d) -> bool:
    """Whether `module` has one filter per channel, and neither dilation nor padding by anything but zeros."""
    return (
        module.groups == module.in_channels == module.out_channels > 1
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _slow_gradient(x: Tensor, weight: Tensor) -> bool:
    return (
        (x.shape[-2] < weight.shape[-2] or x.shape[-1] < weight.shape[-1])
        and len(x) * len(weight) >= MANY_CHANNELS
        and weight.requires_grad
        and torch.is_grad_enabled()
        and x.is_cpu
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
