"""The saved state of a training, written only between optimiser steps: a resumed run ends bit-identical."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile, ZipFile

import torch

from mtcp.core.errors import UserError, first_sentence
from mtcp.core.files import replacing
from mtcp.core.run_config import RunConfig


class Stateful(Protocol):
    """A part of the state: network, optimiser or scheme."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


@dataclass
class Progress:
    """The progress of a training: micro-batches done, seconds spent, losses of the current epoch, history rows."""

    step: int = 0
    seconds: float = 0.0
    loss_sums: dict[str, float] = field(default_factory=dict)
    loss_counts: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    first_validation: dict[str, float] = field(default_factory=dict)
    best_validation: float = math.inf

    def add(self, losses: Mapping[str, float]) -> None:
        """Count one micro-batch, with the losses of the tasks present in it."""
        for task, value in losses.items():
            self.loss_sums[task] = self.loss_sums.get(task, 0.0) + value
            self.loss_counts[task] = self.loss_counts.get(task, 0) + 1
        self.step += 1

    def close_losses(self) -> dict[str, float]:
        """Return each task's mean loss over the epoch's micro-batches in which it was present, and reset the sums."""
        means = {task: total / self.loss_counts[task] for task, total in self.loss_sums.items()}
        self.loss_sums, self.loss_counts = {}, {}
        return means


def save_state(path: Path, config: RunConfig, parts: Mapping[str, Stateful], progress: Progress) -> None:
    """Write the state of `parts` and `progress` to `path` atomically."""
    state = {
        "config": config.training_part(),
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "progress": vars(progress),
    }
    with replacing(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # what torch raises when the disk is full
            raise OSError(f"is the disk full? {first_sentence(error)}") from error


def load_state(path: Path, config: RunConfig, parts: Mapping[str, Stateful], device: torch.device) -> Progress:
    """Load `parts` from the state at `path` and return its progress; without a file, progress starts at zero.

    Raises `UserError` where the file is damaged or belongs to another run.
    """
    if not path.exists():
        return Progress()
    state = _read(path, device)
    if state["config"] != config.training_part():
        raise UserError(f"{path} is the state of another run: remove it to train this run from the beginning")
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    return Progress(**state["progress"])


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    try:
        with ZipFile(path) as archive:  # torch.load does not verify the checksums that torch.save wrote
            if broken := archive.testzip():
                raise BadZipFile(broken)
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}): remove it to train this run from the beginning"
        ) from error
