"""Training in one of several processes: each works on its share of every batch, and all take the same step.

A step equals that of a single process on the whole batch, with two exceptions: BatchNorm sees only the process's own
images (all images with `training.sync_batch_norm`), and the noise of drop path differs.

- Losses are those of the whole batch (`mtcp.training.whole_losses`), so schemes see equal values in all processes.
- Gradients are averaged over the processes once per step, in one message, before they are clipped. Where a scheme or a
  diagnostic reads gradients, each gradient is averaged as soon as autograd has computed it, so it is also that of the
  whole batch. DistributedDataParallel does not do this: it averages only in `backward()`, and gradient schemes call
  `autograd.grad` once per task.
- BatchNorm's running statistics are averaged after every step. They are linear in the batches' statistics, so the
  average describes all images. DistributedDataParallel keeps those of the first process.

After every step, parameters, optimiser and scheme are therefore the same in all processes, and the first process's
state is the state of the run. The keys of single-process runs do not hash this module: their loop is used unchanged.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from mtcp.core.errors import UserError
from mtcp.core.project_files import STATE
from mtcp.core.run_config import RunConfig
from mtcp.data.loading.batches import Batch, Split, open_split, training_batches
from mtcp.models.architecture import Architecture, build_network
from mtcp.training.group import Group
from mtcp.training.loop import Listeners, TrainingResult, _Loop, train
from mtcp.training.state import load_state
from mtcp.training.step import Stepper
from mtcp.training.whole_batch_norm import synchronise
from mtcp.training.whole_losses import counted_together
from mtcp.weighting.base import Scheme


def train_share(
    config: RunConfig, data: Path, directory: Path, device: torch.device, listeners: Listeners, group: Group
) -> TrainingResult:
    """Train the network of `config` as one of the processes of `group`; the arguments are those of `loop.train`.

    All processes read the saved state in `directory`; only the first writes there. The others write to a temporary
    directory.
    """
    network = build_network(config).to(device)
    with tempfile.TemporaryDirectory() as elsewhere:
        own = directory if group.first else Path(elsewhere)
        if not network.trainable:
            return train(config, data, own, str(device))
        if config.training.sync_batch_norm:
            synchronise(network, group)
        split = open_split(config, data, "train")
        validation = open_split(config, data, "validation") if config.validation_share else None
        agreed = Listeners(listeners.on_step, listeners.on_epoch, lambda: group.any(listeners.stop(), device))
        process = _SharedLoop(config, network, split, validation, Path(elsewhere), device, agreed, group)
        process.take_up(directory / STATE, own)
        return process.run()


class _SharedLoop(_Loop):
    """The loop over epochs and steps, with a stepper for this process's share; only the first process saves the state.

    Every process evaluates all validation images, so all agree on the best epoch without communication.
    """

    def __init__(
        self,
        config: RunConfig,
        network: Architecture,
        split: Split,
        validation: Split | None,
        directory: Path,
        device: torch.device,
        listeners: Listeners,
        group: Group,
    ) -> None:
        self.group = group
        super().__init__(config, network, split, validation, directory, device, listeners)

    def _stepper(self) -> Stepper:
        return SharedStepper(self.config, self.network, self.scheme, self.device, self.group)

    def take_up(self, state: Path, directory: Path) -> None:
        """Resume from the run's saved state, if there is one, and write to `directory` from now on."""
        self.progress = load_state(state, self.config, self.parts, self.device)
        self.seconds_before, self.directory = self.progress.seconds, directory

    def _batches(self, epoch: int, done: int) -> Iterator[Batch]:
        share = self.group.rank, self.group.size
        return training_batches(self.split, self.config, epoch, done, self.device, share)

    def _save(self) -> None:
        if self.group.first:
            super()._save()


class SharedStepper(Stepper):
    """A stepper for this process's share of a batch; see the module's docstring."""

    def __init__(
        self, config: RunConfig, network: Architecture, scheme: Scheme, device: torch.device, group: Group
    ) -> None:
        if getattr(scheme.options, "shared_parameters", None) == "representation":
            raise UserError(
                f"scheme '{scheme.name}' with `shared_parameters: representation` compares gradients with respect to "
                "its own images, which are others in every process: choose `encoder`, or train in one process"
            )
        super().__init__(config, network, scheme, device)
        self.group, self.looking = group, False
        self.learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.statistics = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        for parameter in self.learned:
            parameter.register_hook(self._as_seen)

    def micro_step(self, batch: Batch, number: int, boundary: bool, batches: int = 1) -> dict[str, float]:
        """Train on `batch`, this process's share of the run's batch `number`; the losses are those of the whole batch.

        The number that seeds noise and appears in messages counts shares, as if each were a single process's
        micro-batch.
        """
        scheme, every = self.scheme, self.scheme.context.diagnostics_every
        self.looking = scheme.cost == "gradients" or bool(every and scheme.steps % every == 0)
        with counted_together(self.group):
            own_number = number * self.group.size + self.group.rank
            losses = super().micro_step(batch, own_number, boundary, batches)
        if boundary:
            self.group.average(self.statistics)
        return losses

    def _optimise(self, batch: Batch) -> None:
        self.looking = False
        self.group.average([parameter.grad for parameter in self.learned if parameter.grad is not None])
        super()._optimise(batch)

    def _as_seen(self, gradient: Tensor) -> Tensor:
        return self.group.mean(gradient) if self.looking else gradient
