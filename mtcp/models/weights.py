"""Pre-trained weights: finding, checking and reading their files, and recording which were used."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from mtcp.core.errors import UserError, first_sentence
from mtcp.core.hashing import file_digest
from mtcp.core.run_config import EncoderConfig
from mtcp.models.packaged import PACKAGE, packaged_digest, packaged_file

#: A Mask2Former's weights, in a folder or on the hub.
WEIGHTS = "model.safetensors"


def weights_file(config: EncoderConfig) -> Path | None:
    """Return the encoder's weights file: from a package, a local path, or the hub, from which timm fetches it itself.

    None where initial values are random, or where timm has no file of the hub in its cache.
    """
    if config.weights == PACKAGE:
        return packaged_file(config.model)
    if config.weights:
        return Path(config.weights, WEIGHTS) if config.kind == "mask2former" else Path(config.weights)
    if not config.pretrained:
        return None
    if config.kind == "timm":
        return _fetched_by_timm(config.model)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(config.model, WEIGHTS, revision=config.revision))
    except Exception as error:
        raise no_hub_access(config, error) from error


def _fetched_by_timm(model: str) -> Path | None:
    """Return the file in the hub's cache from which timm took the weights of `model`; None if it has another source."""
    from huggingface_hub import try_to_load_from_cache
    from timm.models import get_pretrained_cfg, parse_model_name

    source, name = parse_model_name(model)
    found = get_pretrained_cfg(name) if source is None else None
    hub = name if source == "hf-hub" else found.hf_hub_id if found else None
    if not hub:
        return None
    repository, _, revision = hub.partition("@")
    named = found.hf_hub_filename if found else None
    for file in (named,) if named else (WEIGHTS, "pytorch_model.bin"):  # in timm's order
        if isinstance(path := try_to_load_from_cache(repository, file, revision=revision or None), str):
            return Path(path)
    return None


def weights_record(config: EncoderConfig) -> dict[str, str] | None:
    """Return the SHA-256 of `weights_file` and, for a file from the hub, its revision, so that others can pin it."""
    path = weights_file(config)
    if path is None:
        return None
    return {"sha256": file_digest(path)} | ({} if config.weights else {"revision": path.parent.name})


def check_weights(path: Path, sha256: str | None) -> None:
    """Raise `UserError` for a file that is missing or truncated, or whose SHA-256 differs from `sha256`, if given."""
    if not path.is_file():
        raise UserError(f"encoder.weights: {path} is missing; expected a file of weights")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt"):
                pass
    except SafetensorError as error:
        raise _incomplete(path, error) from error
    if sha256 is not None and (found := file_digest(path)) != sha256:
        raise UserError(
            f"encoder.weights: {path} has SHA-256 {found}, expected {sha256}; get the pinned version, or change "
            "encoder.sha256 if the other one is meant"
        )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of a PyTorch file (.pth, .pt, .bin), by name."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises many kinds on damaged files
        raise _incomplete(path, error) from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"encoder.weights: {path} must hold a state dict: tensors by name")
    return content


def timm_weights(config: EncoderConfig, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that `config` specifies under timm's names; `own` is the state dict of the whole timm model.

    A package's file has other names, in the same order. Raises `UserError` where the digest differs, or where names or
    shapes do not match; the message lists what is missing and what is unexpected.
    """
    path = weights_file(config)
    assert path is not None, "called for an encoder without a weights file"
    packaged = config.weights == PACKAGE
    check_weights(path, packaged_digest(config.model) if packaged else config.sha256)
    found = read_weights(path)
    if packaged:
        found = dict(zip(own, found.values(), strict=True))
    missing, unexpected = sorted(own.keys() - found.keys()), sorted(found.keys() - own.keys())
    shapes = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & found.keys())
        if found[name].shape != own[name].shape
    ]
    problems = {"lacks": missing, "has the unexpected": unexpected, "has other shapes:": shapes}
    said = [f"{what} {_listed(names)}" for what, names in problems.items() if names]
    if said:
        raise UserError(
            f"encoder.weights: {path} does not fit timm's '{config.model}' with "
            f"{config.args or 'no arguments'}: it {'; it '.join(said)}. Give the weights of this model"
        )
    return found


def _incomplete(path: Path, error: Exception) -> UserError:
    return UserError(
        f"encoder.weights: {path} is not a complete file of weights ({first_sentence(error)}); download it again or "
        "convert it"
    )


def _listed(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def no_hub_access(config: EncoderConfig, error: Exception) -> UserError:
    """Return the error for weights that could not be fetched from the hub."""
    return UserError(
        f"encoder.model: the weights of '{config.model}' cannot be fetched from the hub ({first_sentence(error)}); "
        "check name, revision and network, or download them elsewhere and set encoder.weights"
    )
