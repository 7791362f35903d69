"""Trained networks as safetensors files; the header records what the network was built from.

Nothing is unpickled, so opening a file from an untrusted source runs no foreign code.
"""

import json
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mtcp.core.errors import UserError
from mtcp.core.files import replacing
from mtcp.core.run_config import RunConfig
from mtcp.models.architecture import Architecture, build_network

FORMAT: Final = 2


def save_network(network: Architecture, config: RunConfig, path: Path) -> None:
    """Write parameters and buffers of `network` to `path` atomically, with the header that `config` gives.

    Values that share memory, such as tied weights, are written once under each of their names.
    """
    state = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }
    with replacing(path) as temporary:
        try:
            save_file(state, temporary, metadata={"mtcp": json.dumps(_trained_for(config))})
        except SafetensorError as error:  # what safetensors raises when the disk is full
            raise OSError(str(error)) from error


def load_network(config: RunConfig, path: Path, root: Path | None = None) -> Architecture:
    """Build the network of `config`, with the plug-ins of the project `root`, and load its values from `path`.

    Pre-trained weights are not fetched. Raises `UserError` where the file is missing, damaged, of another format
    version, or holds a network built from something else.
    """
    header, state = _read(path)
    expected = _trained_for(config)
    if header.get("format") != FORMAT:
        raise UserError(
            f"{path} was saved by another version of mtcp (format {header.get('format')}, and {FORMAT} here): "
            "train the run again"
        )
    for key, what in _LABELS.items():
        if header.get(key) != expected[key]:
            raise UserError(
                f"{path} holds a network for {what} {_text(header.get(key))}, but '{config.method}' on "
                f"'{config.benchmark}' has {_text(expected[key])}: give the file of that run, or train it again"
            )
    encoder = config.encoder.model_copy(update={"pretrained": False, "weights": None})
    network = build_network(config.model_copy(update={"encoder": encoder}), root, trained=True)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(
            f"{path} does not fit the network of '{config.method}' on '{config.benchmark}' ({first[:200]}): "
            "train it again with the present configuration"
        ) from error
    return network


_LABELS: Final = {
    "tasks": "tasks",
    "size": "size",
    "architecture": "architecture",
    "encoder": "encoder",
    "arguments": "encoder arguments",
    "channels": "channels",
    "upsample": "up-sampling",
}


def _trained_for(config: RunConfig) -> dict[str, Any]:
    """What a file and a configuration must agree on, as JSON types."""
    return {
        "format": FORMAT,
        "tasks": {task.name: task.channels for task in config.task_list},
        "size": [config.height, config.width],
        "architecture": config.architecture.model_dump(mode="json"),
        "encoder": config.encoder.model,
        "arguments": config.encoder.model_dump(mode="json")["args"],
        "channels": config.channels,
        "upsample": config.upsample,
    }


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise UserError(f"{path} is missing: train the run first")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("mtcp", "null"))
            if not isinstance(header, dict):
                raise UserError(
                    f"{path} is a safetensors file without the header that mtcp writes: another program wrote it"
                )
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise UserError(
            f"{path} is not a complete safetensors file ({error}): remove it and train the run again"
        ) from error


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "none" if not value else ", ".join(f"{name}={entry}" for name, entry in value.items())
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)
