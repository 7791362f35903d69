"""Mask2Former (Cheng et al., CVPR 2022) from `transformers` as the encoder, without the parts that MT-CP ignores."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import Mask2FormerConfig, Mask2FormerModel
from transformers.models.mask2former.modeling_mask2former import Mask2FormerMaskPredictor
from transformers.models.swin.modeling_swin import SwinLayer
from transformers.utils import logging

from mtcp.core.errors import UserError
from mtcp.core.run_config import EncoderConfig
from mtcp.models.architecture import Backbone, BuildContext
from mtcp.models.checkpointing import recomputed
from mtcp.models.deformable import DeformableLayer
from mtcp.models.layers import to_nhwc, use_projections
from mtcp.models.weights import WEIGHTS, check_weights, weights_file

#: The Swin encoder's last norm, which nothing reads. Files saved by transformers 4, such as the hub's, lack it.
UNREAD = "pixel_level_module.encoder.swin.layernorm."


def shared_representation(pixels: Tensor, mask_logits: Tensor) -> Tensor:
    """R = P * M, with the pixel embedding P (B, C, h, w) and the mask logits M summed over queries (B, 1, h, w)."""
    return pixels * mask_logits


class MaskEmbeddings(Mask2FormerMaskPredictor):
    """Returns the queries' mask embeddings (B, Q, C), where the library returns mask logits (B, Q, h, w) per layer.

    Only the sum over queries of the last layer's logits is read. The attention masks between layers need logits only
    at a coarser level. Resizing commutes with the product over channels, so the pixel embedding is resized instead of
    a hundred logit maps.
    """

    def forward(
        self, outputs: Tensor, pixel_embeddings: Tensor, attention_mask_target_size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        embeddings = self.mask_embedder(outputs.transpose(0, 1))
        with torch.no_grad():
            pixels = F.interpolate(pixel_embeddings, size=attention_mask_target_size, mode="bilinear")
            outside = embeddings @ pixels.flatten(2) < 0
        return embeddings, outside.repeat_interleave(self.num_heads, 0)


class Mask2FormerEncoder(Backbone):
    """R = P * sum over queries of M: pixel embedding times the last decoder layer's mask logits.

    M = E P with the queries' mask embeddings E, hence sum M = (sum E) P, and no map per query is computed. There are
    no class logits, and the encoder's last norm is removed because nothing reads it.
    """

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.model = _mask2former(context.encoder)
        width = self.model.config.mask_feature_size
        if width != context.channels:
            raise UserError(
                f"channels: {context.channels}, but Mask2Former '{context.encoder.model}' gives {width} channels: "
                f"set channels to {width}, or encoder.args.mask_feature_size for random initial weights"
            )
        self.model.pixel_level_module.encoder.swin.layernorm = nn.Identity()
        self.model.transformer_module.decoder.mask_predictor.__class__ = MaskEmbeddings
        for layer in self.model.pixel_level_module.decoder.encoder.layers:
            layer.__class__ = DeformableLayer
        use_projections(self.model)
        self.checkpointing = context.checkpointing
        self._layers = _switchable_layers(self.model.pixel_level_module.encoder)

    def pretrained(self) -> nn.Module:
        return self.model

    def forward(self, image: Tensor) -> Tensor:
        encoder, decoder = self.model.pixel_level_module.encoder, self.model.pixel_level_module.decoder
        lean = self.training and (self.checkpointing or image.is_cpu)
        for layer in self._layers:
            layer.gradient_checkpointing = lean
        maps = encoder(image).feature_maps
        # The pixel decoder's sampled values need as much memory as the whole encoder; recomputing them takes a third
        # of the encoder's time.
        features = recomputed(decoder, maps) if lean else decoder(maps)
        pixels = features.mask_features
        decoded = self.model.transformer_module(features.multi_scale_features, pixels)
        embedding = decoded.masks_queries_logits[-1].sum(1)
        return shared_representation(pixels, torch.einsum("bc,bchw->bhw", embedding, pixels)[:, None])


class SwinMaps(Backbone):
    """The maps of a Mask2Former's Swin encoder at 1/4 to 1/32, without pixel decoder and queries."""

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self.encoder = _mask2former(context.encoder).pixel_level_module.encoder
        self.encoder.swin.layernorm = nn.Identity()
        use_projections(self.encoder)
        self.widths = list(self.encoder.channels)

    def pretrained(self) -> nn.Module:
        return self.encoder

    def maps(self, image: Tensor) -> list[Tensor]:
        """Return the maps of `image` from fine to coarse, each (B, h, w, width)."""
        return [to_nhwc(level) for level in self.encoder(image).feature_maps]


def _switchable_layers(encoder: nn.Module) -> list[Any]:
    """Return the Swin layers, prepared for checkpointing one by one: saves a third of a gigabyte at 192x256, batch 2.

    The library's own switch checkpoints both the stages and the layers inside them, and so recomputes twice.
    """
    layers: list[Any] = [module for module in encoder.modules() if isinstance(module, SwinLayer)]
    for layer in layers:
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
    return layers


def _mask2former(config: EncoderConfig) -> Mask2FormerModel:
    """The model with random values, or with weights from a local folder (config.json, model.safetensors) or the hub."""
    if config.weights and not Path(config.weights, "config.json").is_file():
        raise UserError(f"encoder.weights: {config.weights} must be a folder with config.json and {WEIGHTS}")
    path = weights_file(config)
    if path is None:
        return Mask2FormerModel(Mask2FormerConfig(**config.args))
    check_weights(path, config.sha256)
    if config.weights:
        return _loaded(config, config.weights, local_files_only=True)
    return _loaded(config, config.model, revision=config.revision)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library inside the block: it would report every weight that is left out on purpose."""
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _loaded(config: EncoderConfig, source: str, **options: object) -> Mask2FormerModel:
    try:
        with _quiet():
            model, info = Mask2FormerModel.from_pretrained(
                source, use_safetensors=True, output_loading_info=True, **options, **config.args
            )
    except (OSError, ValueError, RuntimeError) as error:
        sentence = " ".join(str(error).split())[:200]
        raise UserError(
            f"encoder.weights: {source} does not load as a Mask2Former ({sentence}); expected the weights of "
            f"'{config.model}'"
        ) from error
    missing = [name for name in info["missing_keys"] if not name.startswith(UNREAD)]
    if missing:
        raise UserError(
            f"encoder.weights: {source} lacks {len(missing)} parameters of Mask2Former, such as {min(missing)}; "
            f"expected the weights of '{config.model}'"
        )
    _require_described(model, config, source)
    return model


def _require_described(model: Mask2FormerModel, config: EncoderConfig, source: str) -> None:
    """Raise `UserError` where `encoder.args` alone give another network: a trained one could not be built again."""
    with torch.device("meta"):
        described = Mask2FormerModel(Mask2FormerConfig(**config.args))
    shapes, again = ({name: x.shape for name, x in each.state_dict().items()} for each in (model, described))
    if shapes != again:
        name = min(key for key in shapes.keys() | again.keys() if shapes.get(key) != again.get(key))
        raise UserError(
            f"encoder.args: {source} is another Mask2Former than they describe ({name} differs): write what differs "
            "from the library's defaults in its config.json, such as backbone_config, into encoder.args"
        )
