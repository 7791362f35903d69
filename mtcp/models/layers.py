"""Layers on maps with channels last: every map between the trunk and the heads is (B, H, W, C).

A 1x1 convolution is then a projection of tokens, windows and attention read tokens without a copy, and channels-last
kernels serve what stays a convolution.
"""

from torch import Tensor, nn
from torch.nn import functional as F

#: Fewer tokens than this are multiplied by BLAS.
FEW_TOKENS = 256


def channels_first(x: Tensor) -> Tensor:
    """(B, H, W, C) seen as (B, C, H, W), without a copy."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """(B, C, H, W) seen as (B, H, W, C), without a copy."""
    return x.permute(0, 2, 3, 1)


def project(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b for tokens (..., N, C) and W (C', C), as `F.linear`.

    On a CPU larger products run as a convolution over rows of tokens: the library has BLAS behind the one and oneDNN
    behind the other, which is about twice as fast on processors that BLAS does not know, forward and backward. It
    takes a batch of 16 rows for that; with few tokens rearranging the weights costs more than it gains.
    """
    tokens = x.numel() // x.shape[-1]
    rows = next((count for count in range(16, 64) if tokens % count == 0), None)
    if not x.is_cpu or weight.numel() < 16384 or tokens < FEW_TOKENS or rows is None:
        return F.linear(x, weight, bias)
    picture = channels_first(x.reshape(rows, 1, tokens // rows, x.shape[-1]))
    projected = channels_last(F.conv2d(picture, weight[:, :, None, None], bias))
    return projected.reshape(*x.shape[:-1], -1)


class Projection(nn.Linear):
    """A linear layer of tokens (..., N, C), such as a 1x1 convolution of (B, H, W, C); see `project`."""

    def forward(self, x: Tensor) -> Tensor:
        return project(x, self.weight, self.bias)


def use_projections(model: nn.Module) -> None:
    """Let the linear layers of a library's model compute as `Projection` does; parameters and names stay."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = Projection


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation of (B, H, W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return channels_last(super().forward(channels_first(x)))


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, align_corners false, no antialias, of (B, H, W, C); a map that has the size is returned as it is."""
    if x.shape[1:3] == (height, width):
        return x
    return channels_last(F.interpolate(channels_first(x), size=(height, width), mode="bilinear", align_corners=False))
