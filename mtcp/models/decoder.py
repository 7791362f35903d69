"""The decoder of one task: three Swin stages (HFP) and a feature pyramid (DFPN) that merges their maps at 1/4."""

from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.models.layers import Projection, to_nchw, to_nhwc
from mtcp.models.swin import Stage

DEPTHS = (1, 2, 1)
HEADS = 2


class HFP(nn.Module):
    """R (B, H/4, W/4, C) -> maps of widths C, 2C, 4C at 1/4, 1/8, 1/16, each (B, h, w, width)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels * 2**index for index in range(len(DEPTHS))]
        self.stages = nn.ModuleList(
            Stage(width, depth, HEADS, last=width == widths[-1]) for width, depth in zip(widths, DEPTHS, strict=True)
        )
        self.out_norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage, norm in zip(self.stages, self.out_norms, strict=True):
            assert isinstance(stage, Stage)
            x = stage.blocks(x)
            maps.append(norm(x))
            if stage.downsample is not None:
                x = stage.downsample(x)
        return maps


class FPN(nn.Module):
    """Lateral projections to C, top-down sums with nearest up-sampling, one 3x3 convolution on the finest map.

    (Lin et al., CVPR 2017.) Maps are (B, h, w, width), from fine to coarse; only the finest is computed.
    """

    def __init__(self, widths: list[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(Projection(width, channels) for width in widths)
        self.output = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        laterals = [lateral(level) for lateral, level in zip(self.lateral, maps, strict=True)]
        total = laterals.pop()
        for finer in reversed(laterals):
            total = finer + to_nhwc(F.interpolate(to_nchw(total), size=finer.shape[1:3]))
        return to_nhwc(self.output(to_nchw(total)))
