"""The shared encoder: image (B, 3, H, W) -> representation R (B, C, H/4, W/4)."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from mtcp.core.errors import UserError, first_sentence
from mtcp.core.images import IMAGENET_MEAN, IMAGENET_STD
from mtcp.core.run_config import EncoderConfig
from mtcp.core.startup import compiler_deferred, uncollected
from mtcp.models.architecture import Backbone, BuildContext
from mtcp.models.decoder import FPN
from mtcp.models.layers import resize, to_nchw, to_nhwc, use_projections
from mtcp.models.weights import no_hub_access, timm_weights


def build_encoder(context: BuildContext) -> nn.Module:
    """Return the benchmark's encoder; raises `UserError` if it is not available or does not support the image size."""
    with context.part("encoder"):
        if context.encoder.kind == "timm":
            return TimmEncoder(context)
        with uncollected():
            from mtcp.models.mask2former import Mask2FormerEncoder

        return Mask2FormerEncoder(context)


class Normalise(nn.Module):
    """From the loader's normalisation, ImageNet's, to that of the encoder's pre-training.

    With x = (p - m) / s of a pixel p in [0, 1]: (p - mean) / std = x s / std + (m - mean) / std, per channel.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        loader_mean, loader_std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        self.same = tuple(mean) == IMAGENET_MEAN and tuple(std) == IMAGENET_STD
        self.register_buffer("scale", (loader_std / torch.tensor(std))[:, None, None], persistent=False)
        self.register_buffer(
            "shift", ((loader_mean - torch.tensor(mean)) / torch.tensor(std))[:, None, None], persistent=False
        )

    def forward(self, image: Tensor) -> Tensor:
        return image if self.same else image * self.scale + self.shift


class TimmMaps(Backbone):
    """The maps of a timm `features_only` backbone at 1/4 and coarser; `widths` and `reductions` describe them."""

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.backbone = timm_backbone(context.encoder)
        from mtcp.models.timm_layers import use_precise_norms, use_quick_depthwise

        use_projections(self.backbone)
        use_precise_norms(self.backbone)
        use_quick_depthwise(self.backbone)
        self.normalise = Normalise(self.backbone.pretrained_cfg["mean"], self.backbone.pretrained_cfg["std"])
        info = self.backbone.feature_info
        self.levels = [index for index, reduction in enumerate(info.reduction()) if reduction >= 4]
        self.widths = [info.channels()[index] for index in self.levels]
        self.reductions = [info.reduction()[index] for index in self.levels]
        self.nchw = str(getattr(self.backbone, "output_fmt", "NCHW")).endswith("NCHW")
        if self.nchw:
            # Convolutions are a fifth faster this way, and the following layers read channels-last maps.
            self.backbone.to(memory_format=torch.channels_last)
        if not context.trained:
            _check_size(self.backbone, context)

    def pretrained(self) -> nn.Module:
        return self.backbone

    def prepared(self, image: Tensor) -> Tensor:
        """Return the image in the backbone's normalisation and memory format."""
        image = self.normalise(image)
        return image.contiguous(memory_format=torch.channels_last) if self.nchw else image

    def maps(self, image: Tensor) -> list[Tensor]:
        """Return the maps of `image` from fine to coarse, each (B, h, w, width)."""
        maps = self.backbone(self.prepared(image))
        return [to_nhwc(maps[level]) if self.nchw else maps[level] for level in self.levels]


class TimmEncoder(TimmMaps):
    """Any `features_only` backbone of timm, with a feature pyramid (`FPN`) over its maps at 1/4 and coarser."""

    def __init__(self, context: BuildContext) -> None:
        super().__init__(context)
        self.pyramid = FPN(self.widths, context.channels)

    def forward(self, image: Tensor) -> Tensor:
        height, width = (-(-side // 4) for side in image.shape[-2:])
        return to_nchw(resize(self.pyramid(self.maps(image)), height, width))


def timm_backbone(config: EncoderConfig) -> Any:
    """Create the backbone, with weights from a package, a local file or the hub, or with random ones.

    The result is a module with `feature_info` and `pretrained_cfg`; timm has no type for it.
    """
    with uncollected(), compiler_deferred():
        import timm
        from timm.models import parse_model_name

    try:
        source, name = parse_model_name(config.model)
    except ValueError as error:
        raise UserError(f"encoder.model: {first_sentence(error)}") from error
    if source is None and not timm.is_model(name := name.split(".")[0]):
        close = get_close_matches(name, timm.list_models(), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else "; see timm.list_models()"
        raise UserError(f"encoder.model: timm has no model '{config.model}'{hint}")
    options = dict(config.args)
    try:
        if config.weights:
            # Checked here, because with features_only timm accepts a file in which names are missing.
            whole = {name: value for name, value in options.items() if name != "out_indices"}
            with torch.device("meta"):
                own = timm.create_model(config.model, **whole).state_dict()
            options["pretrained_cfg_overlay"] = {"state_dict": timm_weights(config, own)}
        return timm.create_model(
            config.model, pretrained=config.pretrained or bool(config.weights), features_only=True, **options
        )
    except UserError:
        raise
    except OSError as error:
        raise no_hub_access(config, error) from error
    except Exception as error:
        raise UserError(
            f"encoder.{'args' if config.args else 'model'}: timm cannot build '{config.model}' as a features_only "
            f"backbone with {config.args or 'no arguments'} and weights {config.weights or 'of its own'}: "
            f"{first_sentence(error)}; choose another model, or correct encoder.args or encoder.weights"
        ) from error


def _check_size(backbone: nn.Module, context: BuildContext) -> None:
    """Run the backbone on an image of zeros, so that an unsupported size is refused before any training."""
    try:
        with torch.no_grad():
            backbone.eval()(torch.zeros(1, 3, *context.size))
        backbone.train()
    except Exception as error:
        height, width = context.size
        raise UserError(
            f"encoder '{context.encoder.model}' takes no images of {height}x{width} pixels: {first_sentence(error)}; "
            "change height and width, or give the size in encoder.args (img_size)"
        ) from error
