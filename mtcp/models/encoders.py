"""The shared trunk: an image (B, 3, H, W) becomes the representation R (B, C, H/4, W/4)."""

from difflib import get_close_matches
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mtcp.config import EncoderConfig
from mtcp.errors import UserError
from mtcp.imports import uncollected
from mtcp.models.architecture import BuildContext
from mtcp.models.decoder import FPN
from mtcp.models.layers import channels_first, channels_last, resize, use_projections
from mtcp.provenance import file_digest

#: A Mask2Former's weights, in a folder or on the hub.
WEIGHTS = "model.safetensors"


def build_trunk(context: BuildContext) -> nn.Module:
    """Return the trunk that the benchmark asks for; raises `UserError` where it cannot be had or takes no such size."""
    with context.part("trunk"):
        if context.encoder.kind == "timm":
            return TimmTrunk(context)
        with uncollected():
            from mtcp.models.mask2former import Mask2FormerTrunk

        return Mask2FormerTrunk(context)


class TimmTrunk(nn.Module):
    """Any `features_only` backbone of timm, with a light pyramid over its maps at 1/4 and coarser."""

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.backbone = _timm_backbone(context.encoder)
        use_projections(self.backbone)
        info = self.backbone.feature_info
        self.levels = [index for index, reduction in enumerate(info.reduction()) if reduction >= 4]
        self.pyramid = FPN([info.channels()[index] for index in self.levels], context.channels)
        self.channels_first = str(getattr(self.backbone, "output_fmt", "NCHW")).endswith("NCHW")
        if self.channels_first:
            # Convolutions are a fifth faster so, and what follows reads channels last.
            self.backbone.to(memory_format=torch.channels_last)
        _check_size(context)

    def forward(self, image: Tensor) -> Tensor:
        if self.channels_first:
            image = image.contiguous(memory_format=torch.channels_last)
        maps = self.backbone(image)
        maps = [maps[level] for level in self.levels]
        if self.channels_first:
            maps = [channels_last(level) for level in maps]
        height, width = (-(-side // 4) for side in image.shape[-2:])
        return channels_first(resize(self.pyramid(maps), height, width))


def _timm_backbone(config: EncoderConfig) -> nn.Module:
    """Create the backbone, with weights from a local safetensors file, from the hub, or random."""
    with uncollected():
        import timm

    name = config.model.split(".")[0]
    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models(), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else "; see timm.list_models()"
        raise UserError(f"encoder.model: timm has no model '{config.model}'{hint}")
    options = dict(config.args)
    if config.weights:
        path = checked_weights(Path(config.weights), config.sha256)
        options["pretrained_cfg_overlay"] = {"file": str(path)}
    try:
        if config.weights:
            # With features_only the library takes a file in which names are missing; the whole model does not.
            whole = {name: value for name, value in options.items() if name != "out_indices"}
            timm.create_model(config.model, pretrained=True, **whole)
        return timm.create_model(
            config.model, pretrained=config.pretrained or bool(config.weights), features_only=True, **options
        )
    except OSError as error:
        raise no_hub_access(config, error) from error
    except Exception as error:
        raise UserError(
            f"encoder.model: timm cannot build '{config.model}' as a features_only backbone with "
            f"{config.args or 'no arguments'} and weights {config.weights or 'of its own'}: "
            f"{_first_sentence(error)}; choose another model, or mend encoder.args or encoder.weights"
        ) from error


def _check_size(context: BuildContext) -> None:
    """Run the backbone without data ("meta" tensors): a size it cannot take is refused before any training."""
    import timm

    try:
        with torch.device("meta"):
            backbone = timm.create_model(context.encoder.model, features_only=True, **context.encoder.args)
            backbone.eval()(torch.empty(1, 3, *context.size))
    except Exception as error:
        height, width = context.size
        raise UserError(
            f"encoder '{context.encoder.model}' takes no images of {height}x{width} pixels: {_first_sentence(error)}; "
            "change height and width, or give the size in encoder.args (img_size)"
        ) from error


def weights_file(config: EncoderConfig) -> Path | None:
    """Return the safetensors file the trunk starts from: a local one, or a Mask2Former's of the hub, fetched once.

    None: initial values are random, or timm fetches the weights itself.
    """
    if config.weights:
        return Path(config.weights, WEIGHTS) if config.kind == "mask2former" else Path(config.weights)
    if not config.pretrained or config.kind == "timm":
        return None
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(config.model, WEIGHTS, revision=config.revision))
    except Exception as error:
        raise no_hub_access(config, error) from error


def weights_record(config: EncoderConfig) -> dict[str, str] | None:
    """Return the SHA-256 of `weights_file` and, for one of the hub, its revision, with which others can pin them."""
    path = weights_file(config)
    if path is None:
        return None
    return {"sha256": file_digest(path)} | ({} if config.weights else {"revision": path.parent.name})


def checked_weights(path: Path, sha256: str | None) -> Path:
    """Return `path` if it is a complete safetensors file with the digest asked for; raises `UserError` otherwise."""
    if not path.is_file():
        raise UserError(f"encoder.weights: {path} is missing; expected a safetensors file")
    try:
        with safe_open(path, framework="pt"):
            pass
    except SafetensorError as error:
        raise UserError(
            f"encoder.weights: {path} is no complete safetensors file ({error}); download it again or convert it"
        ) from error
    if sha256 is not None:
        found = file_digest(path)
        if found != sha256:
            raise UserError(
                f"encoder.weights: {path} has SHA-256 {found}, expected {sha256}; get the pinned version, or change "
                "encoder.sha256 if the other one is meant"
            )
    return path


def no_hub_access(config: EncoderConfig, error: Exception) -> UserError:
    """Return the sentence for weights that the hub did not give."""
    return UserError(
        f"encoder.model: the weights of '{config.model}' cannot be fetched from the hub ({_first_sentence(error)}); "
        "check name, revision and network, or download them elsewhere and set encoder.weights"
    )


def _first_sentence(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
