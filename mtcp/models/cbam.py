"""CBAM (Woo et al., ECCV 2018, equations 1 to 3): a channel gate, then a spatial gate."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelGate(nn.Module):
    """g = sigmoid(MLP(average over space) + MLP(maximum over space)), (B, 1, 1, C); MLP: C -> max(C/16, 4) -> C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 16, 4)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1, 2)
        # `max` with its index: `amax` is ten times slower, because it spreads the gradient over ties.
        pooled = torch.stack((tokens.mean(1), tokens.max(1).values), 1)
        return self.fc2(F.relu(self.fc1(pooled))).sum(1).sigmoid()[:, None, None]


class SpatialGate(nn.Module):
    """g = sigmoid(BN(conv7x7([maximum, mean] over channels))), convolution without bias; shape (B, H, W, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.stack((x.max(-1).values, x.mean(-1)), 1)
        return self.norm(self._convolved(pooled)).sigmoid().squeeze(1).unsqueeze(-1)

    def _convolved(self, pooled: Tensor) -> Tensor:
        # When compiled, the direct call fails in the backward pass at some sizes: it needs contiguous gradients.
        plain = pooled.dtype != torch.float32 or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
        if pooled.is_cpu and not plain:
            # oneDNN, which `F.conv2d` uses on a CPU, takes two to three times as long for 2 -> 1 channels.
            return torch.ops.aten.thnn_conv2d(pooled, self.conv.weight, (7, 7), None, (1, 1), (3, 3))
        return self.conv(pooled)


class Gated(torch.autograd.Function):
    """x * c * s for x (B, H, W, C), c (B, 1, 1, C) and s (B, H, W, 1); saves only these three for the backward pass.

    With the gradient g: dx = g c s; dc = sum over space of g x s; ds = sum over channels of g x c.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, channel: Tensor, spatial: Tensor) -> Tensor:
        return x * channel * spatial

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (gradient,) = gradients
        x, channel, spatial = ctx.saved_tensors
        product = (gradient * x).flatten(1, 2)
        d_channel = spatial.flatten(1, 2).transpose(1, 2).to(product) @ product
        d_spatial = product @ channel.flatten(1, 2).transpose(1, 2).to(product)
        return (
            gradient * spatial * channel,
            d_channel.view_as(channel).to(channel),
            d_spatial.view_as(spatial).to(spatial),
        )


class CBAM(nn.Module):
    """x -> y * spatial(y) with y = x * channel(x); shapes (B, H, W, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = ChannelGate(channels)
        self.spatial = SpatialGate()

    def forward(self, x: Tensor) -> Tensor:
        channel = self.channel(x)
        spatial = self.spatial(x * channel)
        if not torch.is_grad_enabled():  # nothing to save, and exporters cannot handle custom functions
            return x * channel * spatial
        return Gated.apply(x, channel, spatial)
