"""Training of one run: one loop, resumable at every step, in which divergence is a result.

Optimiser and schedule are in `mtcp.training.optimisation`. Every step draws its
noise (drop path) from a stream of its own, batches are a function of (benchmark, seed, epoch), and the state
holds the rest, so that a killed and resumed run ends with the same bits as an unbroken one.
"""

import csv
import io
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor

from mtcp.core.config import RunConfig, TrainingConfig
from mtcp.core.errors import UserError
from mtcp.core.files import replacing, write_text
from mtcp.core.randomness import stream
from mtcp.data.loading.batches import Batch, Split, evaluation_batches, open_split, steps_per_epoch, training_batches
from mtcp.models.architecture import Architecture, build_network
from mtcp.models.checkpoints import save_network
from mtcp.models.layers import at_size
from mtcp.training.losses import batch_losses, task_loss
from mtcp.training.optimisation import build_optimiser, learning_rate
from mtcp.weighting.base import Diverged, Scheme, SchemeContext, build_scheme, own_faults_named

STATE, HISTORY, MODEL, BEST = "state.pt", "history.csv", "model.safetensors", "model-validation.safetensors"
SNAPSHOTS = "snapshots"


class Interrupted(Exception):
    """Training was asked to stop; its state is saved and the next call goes on from there."""


@dataclass(frozen=True)
class TrainingResult:
    """What a finished training leaves besides its files."""

    status: Literal["finished", "diverged"]
    reason: str
    flags: tuple[str, ...]
    epochs: int
    parameters: int
    seconds: float
    seconds_per_step: float
    images_per_second: float


@dataclass
class _Progress:
    """What the resumable state holds besides network, optimiser and scheme."""

    step: int = 0
    seconds: float = 0.0
    loss_sums: dict[str, float] = field(default_factory=dict)
    loss_counts: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    first_validation: dict[str, float] = field(default_factory=dict)
    best_validation: float = math.inf


def train(
    config: RunConfig,
    data: Path,
    directory: Path,
    device: str,
    *,
    on_step: Callable[[int, int], None] = lambda step, total: None,
    on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train the network of `config` on the data set in folder `data`; leave model and history in `directory`.

    Resumes from `state.pt` where one lies there. `on_step(step, total)` and `on_epoch(history row)` are told of
    progress; `stop()` is asked after every step, and where it says yes the state is saved and `Interrupted` raised.
    """
    network = build_network(config).to(device)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    train = open_split(config, data, "train")
    if not network.trainable:
        started = time.perf_counter()
        network.fit(batch.to(device) for batch in evaluation_batches(train, config))
        save_network(network, config, directory / MODEL)
        write_text(directory / HISTORY, "epoch\n")
        return TrainingResult("finished", "", (), 0, 0, time.perf_counter() - started, 0.0, 0.0)
    validation = open_split(config, data, "validation") if config.validation_share else None
    loop = _Loop(config, network, train, validation, directory, device)
    loop.on_step, loop.on_epoch, loop.stop = on_step, on_epoch, stop
    return loop.run(parameters)


class _Loop:
    """The training loop and the state it saves."""

    def __init__(
        self,
        config: RunConfig,
        network: Architecture,
        train: Split,
        validation: Split | None,
        directory: Path,
        device: str,
    ) -> None:
        settings = config.training
        self.config, self.settings, self.directory, self.device = config, settings, directory, torch.device(device)
        self.train, self.validation = train, validation
        self.network = network.to(memory_format=torch.channels_last) if settings.channels_last else network
        self.encode = torch.compile(network.encode) if settings.compile else network.encode
        self.decode = torch.compile(network.decode) if settings.compile else network.decode
        self.steps = steps_per_epoch(train, config)
        if self.steps < settings.accumulate:
            raise UserError(
                f"benchmark '{config.benchmark}': {len(train)} training images give {self.steps} batches of "
                f"{settings.batch_size}; an optimiser step needs {settings.accumulate}: lower `training.batch_size`"
            )
        self.scheme: Scheme = build_scheme(
            config,
            SchemeContext(
                tasks=tuple(task.name for task in config.task_list),
                seed=stream(config.benchmark, config.seed, "scheme"),
                epochs=settings.epochs,
                steps_per_epoch=self.steps,
                size=(config.height, config.width),
                network=network,
            ),
        ).to(device)
        self.optimiser = build_optimiser(network, self.scheme.parameters(), settings, self.device)
        self.progress = _Progress()

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self, parameters: int) -> TrainingResult:
        self._resume()
        total = self.settings.epochs * self.steps
        started, seconds_before = time.perf_counter(), self.progress.seconds
        status, reason = "finished", ""
        try:
            while self.progress.step < total:
                self._epoch(self.progress.step // self.steps, started, seconds_before)
        except Diverged as diverged:
            status, reason = "diverged", str(diverged)
        save_network(self.network, self.config, self.directory / MODEL)
        self._write_history()
        seconds = seconds_before + time.perf_counter() - started
        done = max(self.progress.step, 1)
        return TrainingResult(
            status=status,
            reason=reason,
            flags=tuple(self.scheme.flags()),
            epochs=len(self.progress.history),
            parameters=parameters,
            seconds=seconds,
            seconds_per_step=seconds / done,
            images_per_second=done * self.settings.batch_size / seconds if seconds else 0.0,
        )

    def _epoch(self, epoch: int, started: float, seconds_before: float) -> None:
        self.network.train()
        done = self.progress.step - epoch * self.steps
        for index, batch in enumerate(training_batches(self.train, self.config, epoch, done, self.device), start=done):
            self._set_rate(epoch, index)
            self._micro_step(batch.to(self.device), boundary=self._is_boundary(index))
            self.progress.step += 1
            self.on_step(self.progress.step, self.settings.epochs * self.steps)
            # Only between optimiser steps: accumulated gradients are no part of the state.
            if self._is_boundary(index) and index + 1 < self.steps and self.stop():
                self.progress.seconds = seconds_before + time.perf_counter() - started
                self._save()
                raise Interrupted
        with own_faults_named(self.scheme.at()):
            self.scheme.end_epoch()
        self._close_epoch(epoch)
        self.progress.seconds = seconds_before + time.perf_counter() - started
        self._save()
        if self.stop() and self.progress.step < self.settings.epochs * self.steps:
            raise Interrupted

    def _set_rate(self, epoch: int, index: int) -> None:
        rate = learning_rate(self.settings, epoch, index, self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def _is_boundary(self, index: int) -> bool:
        """Whether an optimiser step follows micro-batch `index`; the rest of an epoch makes a last, smaller one."""
        return (index + 1) % self.settings.accumulate == 0 or index + 1 == self.steps

    def _micro_step(self, batch: Batch, boundary: bool) -> None:
        torch.manual_seed(stream(self.config.benchmark, self.config.seed, "noise", self.progress.step))
        image = batch.image
        if self.settings.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        with self._autocast():
            representation = self.encode(image)
            outputs = self.decode(representation, image.shape[-2:])
        losses, auxiliary = batch_losses(outputs, batch.targets, self.config.task_list, self.config.losses)
        self._record(losses)
        if losses:
            with own_faults_named(self.scheme.at()):
                self.scheme.backward(losses, auxiliary, representation, 1 / self.settings.accumulate)
        if not boundary:
            return
        if self.settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.scheme.cost == "forward":
            with own_faults_named(self.scheme.at()):
                self.scheme.after_step(lambda: self._losses_again(batch))

    def _autocast(self) -> AbstractContextManager:
        if self.settings.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def _losses_again(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad(), self._autocast():
            outputs = self.network(batch.image)
        return batch_losses(outputs, batch.targets, self.config.task_list, self.config.losses)[0]

    def _record(self, losses: dict[str, Tensor]) -> None:
        for task, loss in losses.items():
            value = loss.item()
            if not math.isfinite(value):
                raise Diverged(f"loss of task '{task}' became {value} at step {self.progress.step}")
            self.progress.loss_sums[task] = self.progress.loss_sums.get(task, 0.0) + value
            self.progress.loss_counts[task] = self.progress.loss_counts.get(task, 0) + 1

    # -- the end of an epoch --------------------------------------------------------------------------------------

    def _close_epoch(self, epoch: int) -> None:
        progress = self.progress
        row = {"epoch": epoch, "learning_rate": self.optimiser.param_groups[0]["lr"]}
        row |= {f"loss_{task}": total / progress.loss_counts[task] for task, total in progress.loss_sums.items()}
        row |= self.scheme.record()
        if self.validation is not None:
            losses = self._validation_losses()
            row |= {f"validation_loss_{task}": value for task, value in losses.items()}
            self._keep_best(losses)
        if _is_snapshot(epoch, self.settings):
            save_network(self.network, self.config, self.directory / SNAPSHOTS / f"epoch-{epoch:04d}.safetensors")
        progress.history.append(row)
        progress.loss_sums, progress.loss_counts = {}, {}
        self._write_history()
        self.on_epoch(row)

    @torch.no_grad()
    def _validation_losses(self) -> dict[str, float]:
        """Mean loss per task over the validation images; choosing an epoch by it never looks at test images."""
        self.network.eval()
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        for batch in evaluation_batches(self.validation, self.config):
            batch = batch.to(self.device)
            with self._autocast():
                outputs = self.network(batch.image)
            for task in self.config.task_list:
                target = batch.targets[task.name]
                prediction = at_size(outputs[task.name]["final"].float(), target.shape[-2:])
                loss = task_loss(task, prediction, target, self.config.losses)
                if loss is not None:
                    sums[task.name] = sums.get(task.name, 0.0) + loss.item() * len(batch.ids)
                    counts[task.name] = counts.get(task.name, 0) + len(batch.ids)
        return {task: total / counts[task] for task, total in sums.items()}

    def _keep_best(self, losses: dict[str, float]) -> None:
        """Keep the network whose validation losses, each relative to its first, have the smallest sum."""
        first = self.progress.first_validation = {**losses, **self.progress.first_validation}
        score = sum(value / max(first[task], 1e-12) for task, value in losses.items())
        if score < self.progress.best_validation:
            self.progress.best_validation = score
            save_network(self.network, self.config, self.directory / BEST)

    def _write_history(self) -> None:
        columns = list(dict.fromkeys(key for row in self.progress.history for key in row)) or ["epoch"]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.progress.history)
        write_text(self.directory / HISTORY, text.getvalue())

    # -- the state ------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        state = {
            "config": self.config.training_part(),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scheme": self.scheme.state_dict(),
            "progress": vars(self.progress),
        }
        with replacing(self.directory / STATE) as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:  # what torch makes of a full disk
                raise OSError(str(error).splitlines()[0]) from error

    def _resume(self) -> None:
        path = self.directory / STATE
        if not path.exists():
            return
        state = _load_state(path, self.device)
        if state["config"] != self.config.training_part():
            raise UserError(f"{path} is the state of another run: remove it to train this run anew")
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scheme.load_state_dict(state["scheme"])
        self.progress = _Progress(**state["progress"])


def _load_state(path: Path, device: torch.device) -> dict[str, Any]:
    try:
        with ZipFile(path) as archive:  # torch.load does not compare the checksums that torch.save wrote
            if broken := archive.testzip():
                raise BadZipFile(broken)
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}): remove it to train this run anew") from error


def _is_snapshot(epoch: int, settings: TrainingConfig) -> bool:
    """Whether `epoch` is among `settings.snapshots` evenly spaced ones; the last is kept as the model anyway."""
    before, after = (count * settings.snapshots // settings.epochs for count in (epoch, epoch + 1))
    return after > before and epoch + 1 < settings.epochs
