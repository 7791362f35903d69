"""Training of one run: a loop that can resume at every optimiser step. A run that diverges is a result, not an error.

The optimiser and the schedule are in `mtcp.training.optimisation`, the work on one batch in `mtcp.training.step`. Every
step draws its noise (drop path) from its own random stream, and batches are a function of (benchmark, seed, epoch). The
saved state holds everything else, so a run that was killed and resumed is bit-identical to an uninterrupted one.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from mtcp.core.errors import UserError
from mtcp.core.project_files import BEST_ON_VALIDATION, HISTORY, MODEL, STATE, snapshot_file
from mtcp.core.randomness import stream
from mtcp.core.run_config import RunConfig
from mtcp.core.snapshots import is_kept
from mtcp.core.tasks import UNTRAINED
from mtcp.data.loading.batches import (
    Batch,
    Split,
    drawn_batch,
    evaluation_batches,
    open_split,
    steps_per_epoch,
    training_batches,
)
from mtcp.models.architecture import Architecture, build_network
from mtcp.models.checkpoints import save_network
from mtcp.training.history import LOSS, VALIDATION_LOSS, untrained_tasks, write_history
from mtcp.training.optimisation import learning_rate
from mtcp.training.state import Stateful, load_state, save_state
from mtcp.training.step import Stepper
from mtcp.training.validation_score import first_finite, relative_score
from mtcp.weighting.base import Diverged, SchemeContext, build_scheme, own_faults_named


class Interrupted(Exception):
    """Training was asked to stop. Its state is saved, and the next call resumes from it."""


@dataclass(frozen=True)
class TrainingResult:
    """What a finished training returns, besides the files that it writes."""

    status: Literal["finished", "diverged"]
    reason: str
    flags: tuple[str, ...]
    epochs: int
    parameters: int
    seconds: float
    seconds_per_step: float
    images_per_second: float


@dataclass(frozen=True)
class Listeners:
    """The caller's callbacks while a training runs.

    `on_step(step, total)` and `on_epoch(history row)` report progress. `stop()` is asked after every optimiser step.
    """

    on_step: Callable[[int, int], None] = lambda step, total: None
    on_epoch: Callable[[dict[str, float]], None] = lambda row: None
    stop: Callable[[], bool] = lambda: False


def train(
    config: RunConfig, data: Path, directory: Path, device: str, listeners: Listeners | None = None
) -> TrainingResult:
    """Train the network of `config` on the data set in folder `data`; leave model and history in `directory`.

    Resumes from a state saved in `directory`, if there is one. Where the caller asks to stop, saves the state and
    raises `Interrupted`.
    """
    network = build_network(config).to(device)
    split = open_split(config, data, "train")
    if not network.trainable:
        return _fit(network, config, split, directory, device)
    validation = open_split(config, data, "validation") if config.validation_share else None
    loop = _Loop(config, network, split, validation, directory, torch.device(device), listeners or Listeners())
    return loop.run()


def _fit(network: Architecture, config: RunConfig, split: Split, directory: Path, device: str) -> TrainingResult:
    """Fit a trivial baseline in one pass over the training images."""
    started = time.perf_counter()
    network.fit(batch.to(device) for batch in evaluation_batches(split, config))
    save_network(network, config, directory / MODEL)
    write_history(directory / HISTORY, [])
    return TrainingResult("finished", "", (), 0, 0, time.perf_counter() - started, 0.0, 0.0)


class _Loop:
    """The training loop over epochs and steps."""

    def __init__(
        self,
        config: RunConfig,
        network: Architecture,
        split: Split,
        validation: Split | None,
        directory: Path,
        device: torch.device,
        listeners: Listeners,
    ) -> None:
        self.config, self.settings = config, config.training
        self.split, self.validation = split, validation
        self.directory, self.device, self.listeners = directory, device, listeners
        self.network = network
        self.steps = _steps(config, split)
        self.total = self.settings.epochs * self.steps
        look = self._validation_losses if validation is not None else None
        self.scheme = build_scheme(config, _context(config, network, self.steps, look)).to(device)
        self.stepper = self._stepper()
        self.parts: dict[str, Stateful] = {
            "network": network,
            "optimiser": self.stepper.optimiser,
            "scheme": self.scheme,
        }
        self.progress = load_state(directory / STATE, config, self.parts, device)
        self.seconds_before, self.started = self.progress.seconds, time.perf_counter()

    def _stepper(self) -> Stepper:
        return Stepper(self.config, self.network, self.scheme, self.device)

    def run(self) -> TrainingResult:
        """Train until the last epoch, or until the run diverges."""
        status, reason = "finished", ""
        try:
            while self.progress.step < self.total:
                self._epoch(self.progress.step // self.steps)
        except Diverged as diverged:
            status, reason = "diverged", str(diverged)
        save_network(self.network, self.config, self.directory / MODEL)
        write_history(self.directory / HISTORY, self.progress.history)
        seconds, done = self._seconds(), max(self.progress.step, 1)
        return TrainingResult(
            status=status,
            reason=reason,
            flags=(*self.scheme.flags(), *(f"{UNTRAINED}{task}" for task in self._untrained())),
            epochs=len(self.progress.history),
            parameters=sum(parameter.numel() for parameter in self.network.parameters()),
            seconds=seconds,
            seconds_per_step=seconds / done,
            images_per_second=done * self.settings.batch_size / seconds if seconds else 0.0,
        )

    def _epoch(self, epoch: int) -> None:
        """Train one epoch, or the rest of one that was interrupted."""
        self.network.train()
        done = self.progress.step - epoch * self.steps
        for index, batch in enumerate(self._batches(epoch, done), start=done):
            batches, boundary = step_of(index, self.steps, self.settings.accumulate)
            self.stepper.set_rate(learning_rate(self.settings, epoch, index, self.steps))
            losses = self.stepper.micro_step(batch, self.progress.step, boundary, batches)
            self.progress.add(losses)
            self.listeners.on_step(self.progress.step, self.total)
            # Only between optimiser steps: accumulated gradients are not part of the state.
            if boundary and index + 1 < self.steps and self.listeners.stop():
                self._save()
                raise Interrupted
        with own_faults_named(self.scheme.at()):
            self.scheme.close_epoch()
        self._close_epoch(epoch)
        self._save()
        if self.progress.step < self.total and self.listeners.stop():
            raise Interrupted

    def _batches(self, epoch: int, done: int) -> Iterator[Batch]:
        """The batches of an epoch after the first `done`, on the run's device."""
        return training_batches(self.split, self.config, epoch, done, self.device)

    def _validation_losses(self, number: int) -> dict[str, Tensor]:
        assert self.validation is not None
        return self.stepper.losses_on(drawn_batch(self.validation, self.config, number))

    def _close_epoch(self, epoch: int) -> None:
        """Add the epoch's row to the history, and save the network where it is the best so far or a snapshot."""
        row = {"epoch": epoch, "learning_rate": self.stepper.rate}
        row |= {f"{LOSS}{task}": mean for task, mean in self.progress.close_losses().items()}
        row |= self.scheme.record()
        if self.validation is not None:
            losses = self.stepper.validation_losses(self.validation)
            row |= {f"{VALIDATION_LOSS}{task}": value for task, value in losses.items()}
            self._keep_best(losses)
        if is_kept(self.settings, epoch):
            save_network(self.network, self.config, self.directory / snapshot_file(epoch))
        self.progress.history.append(row)
        write_history(self.directory / HISTORY, self.progress.history)
        self.listeners.on_epoch(row)

    def _keep_best(self, losses: dict[str, float]) -> None:
        """Keep the network whose validation losses, each relative to its first finite one, have the smallest sum."""
        self.progress.first_validation = first_finite(self.progress.first_validation, losses)
        score = relative_score(losses, self.progress.first_validation)
        if score < self.progress.best_validation:
            self.progress.best_validation = score
            save_network(self.network, self.config, self.directory / BEST_ON_VALIDATION)

    def _untrained(self) -> list[str]:
        return untrained_tasks(self.progress.history, [task.name for task in self.config.task_list])

    def _seconds(self) -> float:
        """Wall time over all attempts."""
        return self.seconds_before + time.perf_counter() - self.started

    def _save(self) -> None:
        self.progress.seconds = self._seconds()
        save_state(self.directory / STATE, self.config, self.parts, self.progress)


def step_of(index: int, steps: int, accumulate: int) -> tuple[int, bool]:
    """Return the number of micro-batches in the optimiser step of micro-batch `index`, and whether it is the last one.

    `steps` is the number of micro-batches in an epoch, whose last optimiser step may have fewer than `accumulate`.
    """
    batches = min(accumulate, steps - index + index % accumulate)
    return batches, index % accumulate == batches - 1


def _steps(config: RunConfig, split: Split) -> int:
    """Micro-batches per epoch; raises `UserError` where they are too few for one optimiser step."""
    steps, settings = steps_per_epoch(split, config), config.training
    if steps < settings.accumulate:
        raise UserError(
            f"benchmark '{config.benchmark}': {len(split)} training images give {steps} batches of "
            f"{settings.batch_size}; an optimiser step needs {settings.accumulate}: lower `training.batch_size`"
        )
    return steps


def _context(
    config: RunConfig, network: Architecture, steps: int, validation: Callable[[int], dict[str, Tensor]] | None
) -> SchemeContext:
    return SchemeContext(
        tasks=tuple(task.name for task in config.task_list),
        seed=stream(config.benchmark, config.seed, "scheme"),
        epochs=config.training.epochs,
        steps_per_epoch=steps,
        size=(config.height, config.width),
        network=network,
        # A compiled graph allows only one backward pass.
        diagnostics_every=0 if config.training.compile else config.training.diagnostics_every,
        validation=validation,
    )
