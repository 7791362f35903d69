"""Layers on channels-last maps: every map between the encoder and the heads is (B, H, W, C).

A 1x1 convolution is then a projection of tokens, windows and attention read tokens without a copy, and the remaining
convolutions use channels-last kernels.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Products with fewer tokens than this go to BLAS.
FEW_TOKENS = 256
#: Maps of at most this many pixels are enlarged by matrix products where a gradient is needed.
FEW_PIXELS = 1024


def to_nchw(x: Tensor) -> Tensor:
    """View (B, H, W, C) as (B, C, H, W), without a copy."""
    return x.permute(0, 3, 1, 2)


def to_nhwc(x: Tensor) -> Tensor:
    """View (B, C, H, W) as (B, H, W, C), without a copy."""
    return x.permute(0, 2, 3, 1)


def project(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b for tokens (..., N, C) and W (C', C), as `F.linear`.

    On a CPU, larger products run as a convolution over rows of tokens. torch uses BLAS for linear layers and oneDNN for
    convolutions, and oneDNN is about twice as fast, forward and backward, on processors for which BLAS is not tuned. It
    needs a batch of at least 16 rows; with few tokens, rearranging the weights costs more than it saves.
    """
    tokens = x.numel() // x.shape[-1]
    rows = next((count for count in range(16, 64) if tokens % count == 0), None)
    if not x.is_cpu or weight.numel() < 16384 or tokens < FEW_TOKENS or rows is None:
        return F.linear(x, weight, bias)
    picture = to_nchw(x.reshape(rows, 1, tokens // rows, x.shape[-1]))
    projected = to_nhwc(F.conv2d(picture, weight[:, :, None, None], bias))
    return projected.reshape(*x.shape[:-1], -1)


class Projection(nn.Linear):
    """A linear layer on tokens (..., N, C), such as a 1x1 convolution on (B, H, W, C); see `project`."""

    def forward(self, input: Tensor) -> Tensor:
        return project(input, self.weight, self.bias)


class MLP(nn.Module):
    """fc2(GELU(fc1 x)) on tokens (..., C), with 4 C hidden units; GELU with the exact error function."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = Projection(width, 4 * width)
        self.fc2 = Projection(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def use_projections(model: nn.Module) -> None:
    """Turn the linear layers of a library's model into `Projection`; parameters and their names stay the same."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = Projection


def at_size(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize (B, C, H, W) to `size`: bilinear, align_corners false, no antialias; `x` itself if it has that size."""
    return resampled(x, (size, False))


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """`at_size` for a map (B, H, W, C)."""
    return to_nhwc(at_size(to_nchw(x), (height, width)))


def resampled(x: Tensor, *steps: tuple[tuple[int, ...], bool]) -> Tensor:
    """Resize (B, C, H, W) bilinearly to one size after another; `steps` are (size, align_corners).

    All steps together are R x C^T, with one matrix for rows and one for columns. On a CPU, the gradient of a small map
    is two to four times faster with these products than with torch's kernel, which scatters it value by value.
    """
    if all(size == x.shape[-2:] for size, _ in steps):
        return x
    if _by_matrices(x, steps[-1][0]):
        rows, columns = (_chain(x.shape[axis], tuple((s[axis], corners) for s, corners in steps)) for axis in (-2, -1))
        return rows @ (x @ columns.T)
    for size, corners in steps:
        if size != x.shape[-2:]:
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=corners)
    return x


def _by_matrices(x: Tensor, size: tuple[int, ...]) -> bool:
    return (
        x.requires_grad
        and x.is_cpu
        and x.dtype == torch.float32
        and x.is_contiguous()
        and x.shape[-2] * x.shape[-1] <= FEW_PIXELS
        and size[0] >= x.shape[-2]
        and size[1] >= x.shape[-1]
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


@lru_cache(maxsize=64)
def _chain(before: int, steps: tuple[tuple[int, bool], ...]) -> Tensor:
    """Matrix (last size, `before`) of linear resampling steps along one axis."""
    with torch.inference_mode(False), torch.no_grad():
        matrix = torch.eye(before, dtype=torch.float64)[None]
        for size, corners in steps:
            matrix = F.interpolate(matrix, size=size, mode="linear", align_corners=corners)
        return matrix[0].T.float().contiguous()
