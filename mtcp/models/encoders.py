"""The shared trunk: an image (B, 3, H, W) becomes the representation R (B, C, H/4, W/4)."""

from torch import Tensor, nn

from mtcp.errors import UserError
from mtcp.models.architecture import BuildContext
from mtcp.models.decoder import FPN
from mtcp.models.layers import channels_first, channels_last, resize


class TimmTrunk(nn.Module):
    """Any `features_only` backbone of timm, with a light pyramid over its maps at 1/4 and coarser."""

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        import timm

        config = context.encoder
        self.backbone = timm.create_model(config.model, pretrained=config.pretrained, features_only=True, **config.args)
        info = self.backbone.feature_info
        self.levels = [index for index, reduction in enumerate(info.reduction()) if reduction >= 4]
        self.pyramid = FPN([info.channels()[index] for index in self.levels], context.channels)
        self.channels_first = str(getattr(self.backbone, "output_fmt", "NCHW")).endswith("NCHW")

    def forward(self, image: Tensor) -> Tensor:
        maps = self.backbone(image)
        maps = [maps[level] for level in self.levels]
        if self.channels_first:
            maps = [channels_last(level) for level in maps]
        height, width = (-(-side // 4) for side in image.shape[-2:])
        return channels_first(resize(self.pyramid(maps), height, width))


def shared_representation(pixels: Tensor, mask_logits: Tensor) -> Tensor:
    """R = P * sum of the queries' mask logits: (B, C, h, w) times their sum (B, 1, h, w), as released."""
    return pixels * mask_logits


def build_trunk(context: BuildContext) -> nn.Module:
    """Return the trunk that the benchmark asks for."""
    with context.part("trunk"):
        if context.encoder.kind == "timm":
            return TimmTrunk(context)
    raise UserError("encoder kind mask2former is not there yet")
