"""Trace-back: spatial refinement modules (SRM) that pass the fused features back through the decoder's maps."""

from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.models.cbam import CBAM
from mtcp.models.layers import Projection, project, resize
from mtcp.models.normalisation import BatchNorm


def joint_projection(conv: Projection, pred: Tensor, feature: Tensor) -> Tensor:
    """W [p, f] + b with p resized to f's size, computed without the concatenation.

    A projection commutes with interpolation, because interpolation weights sum to one: a coarser p is projected before
    it is resized and a finer p after, so that the smaller map is projected.
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

    A branch that nothing reads is left out, and its result is None.
    """

    def __init__(
        self, pred: int, feature: int, channels: int, pred_branch: bool = True, feature_branch: bool = True
    ) -> None:
        super().__init__()
        self.pred_cbam, self.feature_cbam = CBAM(pred), CBAM(feature)
        # Built even if left out, so that later parts start from the same values either way.
        self.pred_conv, self.pred_norm = Projection(pred + feature, channels), BatchNorm(channels)
        self.feature_conv, self.feature_norm = Projection(pred + feature, feature), BatchNorm(feature)
        if not pred_branch:
            self.pred_conv = self.pred_norm = None
        if not feature_branch:
            self.feature_conv = self.feature_norm = None

    def forward(self, pred: Tensor, feature: Tensor) -> tuple[Tensor | None, Tensor | None]:
        pred, feature = self.pred_cbam(pred), self.feature_cbam(feature)
        return (
            _branch(self.pred_conv, self.pred_norm, pred, feature),
            _branch(self.feature_conv, self.feature_norm, pred, feature),
        )


def _branch(conv: Projection | None, norm: BatchNorm | None, pred: Tensor, feature: Tensor) -> Tensor | None:
    return None if conv is None or norm is None else F.relu(norm(joint_projection(conv, pred, feature)))


class TraceBack(nn.Module):
    """Three SRMs from 1/16 to 1/4, each passing feature' to the next. Returns pred'_1, pred'_2, pred'_3, each C wide.

    Only auxiliary heads read the first two, which are None without these heads.
    """

    def __init__(self, channels: int, auxiliary: bool = True) -> None:
        super().__init__()
        self.srm1 = SRM(channels, 4 * channels, channels, pred_branch=auxiliary)
        self.srm2 = SRM(4 * channels, 2 * channels, channels, pred_branch=auxiliary)
        self.srm3 = SRM(2 * channels, channels, channels, feature_branch=False)

    def forward(self, fused: Tensor, maps: list[Tensor]) -> tuple[Tensor | None, Tensor | None, Tensor]:
        fine, middle, coarse = maps
        pred1, travelling = self.srm1(fused, coarse)
        pred2, travelling = self.srm2(travelling, middle)
        pred3, _ = self.srm3(travelling, fine)
        return pred1, pred2, pred3
