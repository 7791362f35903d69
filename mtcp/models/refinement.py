"""Trace-back: spatial refinement modules (SRM) that lead the fused features back through the decoder's maps."""

from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.models.cbam import CBAM
from mtcp.models.layers import BatchNorm, Projection, project, resize


def joint_projection(conv: Projection, pred: Tensor, feature: Tensor) -> Tensor:
    """W [p, f] + b with p resized to f's size, the concatenation never made.

    A projection commutes with interpolation, whose weights sum to one: a coarser p is projected first, a finer one
    resized first, whichever is smaller.
    """
    height, width = feature.shape[1:3]
    pred_weight, feature_weight = conv.weight.split((pred.shape[-1], feature.shape[-1]), 1)
    if pred.shape[1] > height:
        projected = project(resize(pred, height, width), pred_weight)
    else:
        projected = resize(project(pred, pred_weight), height, width)
    return project(feature, feature_weight, conv.bias) + projected


class SRM(nn.Module):
    """p = CBAM(pred) at f's size, f = CBAM(feature), c = [p, f] -> pred' = ReLU(BN(W c)), feature' = ReLU(BN(W' c)).

    `feature_branch` False leaves feature' out (None): nothing reads it after the last module.
    """

    def __init__(self, pred: int, feature: int, channels: int, feature_branch: bool) -> None:
        super().__init__()
        self.pred_cbam, self.feature_cbam = CBAM(pred), CBAM(feature)
        self.pred_conv, self.pred_norm = Projection(pred + feature, channels), BatchNorm(channels)
        self.feature_conv = Projection(pred + feature, feature) if feature_branch else None
        self.feature_norm = BatchNorm(feature) if feature_branch else None

    def forward(self, pred: Tensor, feature: Tensor) -> tuple[Tensor, Tensor | None]:
        pred, feature = self.pred_cbam(pred), self.feature_cbam(feature)
        refined = F.relu(self.pred_norm(joint_projection(self.pred_conv, pred, feature)))
        if self.feature_conv is None:
            return refined, None
        return refined, F.relu(self.feature_norm(joint_projection(self.feature_conv, pred, feature)))


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
