"""Trace-back: spatial refinement modules (SRM) that lead the fused features back through the decoder's maps."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.models.cbam import CBAM


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, align_corners false, no antialias; a map that has the size already is returned as it is."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


class SRM(nn.Module):
    """p = CBAM(pred) at f's size, f = CBAM(feature), c = [p, f] -> pred' = ReLU(BN(W c)), feature' = ReLU(BN(W' c)).

    `feature_branch` False leaves feature' out (None): nothing reads it after the last module.
    """

    def __init__(self, pred: int, feature: int, channels: int, feature_branch: bool) -> None:
        super().__init__()
        self.pred_cbam, self.feature_cbam = CBAM(pred), CBAM(feature)
        self.pred_conv, self.pred_norm = nn.Conv2d(pred + feature, channels, 1), nn.BatchNorm2d(channels)
        self.feature_conv = nn.Conv2d(pred + feature, feature, 1) if feature_branch else None
        self.feature_norm = nn.BatchNorm2d(feature) if feature_branch else None

    def forward(self, pred: Tensor, feature: Tensor) -> tuple[Tensor, Tensor | None]:
        both = torch.cat((resize(self.pred_cbam(pred), feature.shape[-2:]), self.feature_cbam(feature)), 1)
        refined = F.relu(self.pred_norm(self.pred_conv(both)))
        if self.feature_conv is None:
            return refined, None
        return refined, F.relu(self.feature_norm(self.feature_conv(both)))


class TraceBack(nn.Module):
    """Three SRMs from 1/16 to 1/4; the feature' branch travels on. Returns pred'_1, pred'_2, pred'_3, each C wide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.srm1 = SRM(channels, 4 * channels, channels, feature_branch=True)
        self.srm2 = SRM(4 * channels, 2 * channels, channels, feature_branch=True)
        self.srm3 = SRM(2 * channels, channels, channels, feature_branch=False)

    def forward(self, fused: Tensor, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = maps
        pred1, travelling = self.srm1(fused, coarse)
        pred2, travelling = self.srm2(travelling, middle)
        pred3, _ = self.srm3(travelling, fine)
        return pred1, pred2, pred3
