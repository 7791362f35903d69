"""Pre-trained weights: where they are, whether they are complete, and which they were."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from mtcp.core.config import EncoderConfig
from mtcp.core.errors import UserError
from mtcp.core.hashing import file_digest

#: A Mask2Former's weights, in a folder or on the hub.
WEIGHTS = "model.safetensors"


def weights_file(config: EncoderConfig) -> Path | None:
    """Return the safetensors file the encoder starts from: a local one, or a Mask2Former's of the hub, fetched once.

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
        f"encoder.model: the weights of '{config.model}' cannot be fetched from the hub ({first_sentence(error)}); "
        "check name, revision and network, or download them elsewhere and set encoder.weights"
    )


def first_sentence(error: Exception) -> str:
    """The first line of an error's message, without its full stop, or the error's name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
