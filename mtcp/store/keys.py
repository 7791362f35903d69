"""The inputs that determine a trained network (`train_key`) and its metrics (`eval_key`). Does not import torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mtcp.core.code_digest import code_digest
from mtcp.core.data_sets import description_path, read_description
from mtcp.core.hashing import digest, weights_digest
from mtcp.core.plugins import PACKAGE_ROOT, path_of
from mtcp.core.run_config import RunConfig
from mtcp.models.packaged import PACKAGE, packaged_digest

_ABSENT: Final = object()
#: Entry points of training in one process, and in each of several processes; the second one imports the first.
_TRAINING: Final = ("mtcp/training/loop.py", "mtcp/training/together.py")


def key_parts(config: RunConfig, data: str, root: Path) -> dict[str, Any]:
    """Return everything that determines a trained network, including the seed; its hash is `train_key`."""
    plugin_files = [
        path_of("architecture", config.architecture.name, root),
        path_of("scheme", config.scheme.name, root),
    ]
    parts: dict[str, Any] = {
        "config": config.training_part(),
        "data": data,
        "code": code_digest([PACKAGE_ROOT / _TRAINING[config.processes > 1], *plugin_files]),
    }
    if described := description_path(config.layout):  # one of mtcp's own; a user's is part of the data
        parts["layout"] = digest(read_description(described).reading())
    if config.encoder.weights == PACKAGE:
        parts["weights"] = packaged_digest(config.encoder.model)
    elif config.encoder.weights:
        parts["weights"] = weights_digest(root / config.encoder.weights)
    return parts


def evaluation_parts(config: RunConfig) -> dict[str, Any]:
    """Return what `eval_key` adds to `train_key`: the evaluation's configuration and code."""
    return {"config": config.evaluation_part(), "code": code_digest([PACKAGE_ROOT / "mtcp/evaluation/evaluate.py"])}


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Describe what changed between two `key_parts`: one entry per changed key, in dotted form."""
    found = []
    for key in sorted({*old, *new}):
        name, before, after = f"{prefix}{key}", old.get(key, _ABSENT), new.get(key, _ABSENT)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{name}.")
        elif before != after:
            found.append(f"{name}: {_words(before)} -> {_words(after)}")
    return found


def _words(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    return value[:12] if isinstance(value, str) and len(value) >= 32 else json.dumps(value)
