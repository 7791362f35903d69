"""Convolutional block attention (Woo et al., ECCV 2018, equations 1 to 3): a channel gate, then a spatial gate."""

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
        # `max` with its index: `amax` spreads the gradient over ties, at ten times the cost.
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
        return self.norm(self.conv(pooled)).sigmoid().squeeze(1).unsqueeze(-1)


class CBAM(nn.Module):
    """x -> y * spatial(y) with y = x * channel(x); shapes (B, H, W, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = ChannelGate(channels)
        self.spatial = SpatialGate()

    def forward(self, x: Tensor) -> Tensor:
        gated = x * self.channel(x)
        return gated * self.spatial(gated)
