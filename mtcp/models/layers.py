"""Layers on maps with channels last: every map between the trunk and the heads is (B, H, W, C).

A 1x1 convolution is then `nn.Linear`, windows and attention read tokens without a copy, and channels-last kernels
serve what stays a convolution.
"""

from torch import Tensor, nn
from torch.nn import functional as F


def channels_first(x: Tensor) -> Tensor:
    """(B, H, W, C) seen as (B, C, H, W), without a copy."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """(B, C, H, W) seen as (B, H, W, C), without a copy."""
    return x.permute(0, 2, 3, 1)


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation of (B, H, W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return channels_last(super().forward(channels_first(x)))


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, align_corners false, no antialias, of (B, H, W, C); a map that has the size is returned as it is."""
    if x.shape[1:3] == (height, width):
        return x
    return channels_last(F.interpolate(channels_first(x), size=(height, width), mode="bilinear", align_corners=False))
