"""The shared trunk: an image (B, 3, H, W) becomes the representation R (B, C, H/4, W/4)."""

from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.errors import UserError
from mtcp.models.architecture import BuildContext
from mtcp.models.decoder import FPN


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
        if not self.channels_first:
            maps = [level.permute(0, 3, 1, 2) for level in maps]
        size = (-(-image.shape[-2] // 4), -(-image.shape[-1] // 4))
        representation = self.pyramid(maps)
        if tuple(representation.shape[-2:]) != size:
            representation = F.interpolate(representation, size=size, mode="bilinear", align_corners=False)
        return representation


def build_trunk(context: BuildContext) -> nn.Module:
    """Return the trunk that the benchmark asks for."""
    with context.part("trunk"):
        if context.encoder.kind == "timm":
            return TimmTrunk(context)
    raise UserError("encoder kind mask2former is not there yet")
