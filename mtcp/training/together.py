"""Training of one run in one of several processes: each takes its share of every batch, all take the same step.

A step is what one process would do with the whole batch, but for what BatchNorm sees, the process's own images
(`training.sync_batch_norm`: all images), and for the noise of drop path. By this construction:

- losses are those of the whole batch (`mtcp.training.whole_losses`), so that schemes see equal values in all processes;
- gradients are averaged over the processes once a step, in one message, before they are clipped. Where a scheme or a
  diagnostic looks at gradients itself, each is averaged as soon as autograd has it, so that this, too, is the whole
  batch's. DistributedDataParallel does neither: it averages in `backward()` alone, and gradient schemes call
  `autograd.grad` once a task;
- BatchNorm's running statistics are averaged after every step. They are linear in the batches' statistics, so that they
  are those of all images, where DistributedDataParallel keeps the first process's.

Parameters, optimiser and scheme are then the same in all processes after every step, and the first process's state is
the state of the run. Keys of runs in one process do not hash a line of this: the loop of one process is used as it is.
"""

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from mtcp.core.config import RunConfig
from mtcp.core.errors import UserError
from mtcp.core.project_files import STATE
from mtcp.data.loading.batches import Batch, Split, open_split
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

    The first process alone reads and writes `directory`'s files; the model of another goes where it is thrown away.
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
    """The loop over epochs and steps, with a stepper that sees its share, and a state that the first process keeps.

    Every process looks at all validation images, so that all agree on the best epoch without a word.
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
        super().__init__(config, network, split, validation, directory, device, listeners)
        self.group = group
        self.stepper = SharedStepper(config, network, self.scheme, device, group)
        self.parts["optimiser"] = self.stepper.optimiser

    def take_up(self, state: Path, directory: Path) -> None:
        """Go on from the run's state, where there is one, and write into `directory` from here on."""
        self.progress = load_state(state, self.config, self.parts, self.device)
        self.seconds_before, self.directory = self.progress.seconds, directory

    def _save(self) -> None:
        if self.group.first:
            super()._save()


class SharedStepper(Stepper):
    """What a process does with its share of a batch; see the module."""

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

    def micro_step(self, batch: Batch, number: int, boundary: bool) -> dict[str, float]:
        """Train on this process's share of the `number`-th batch of the run; losses are the whole batch's.

        Noise, and messages, count the shares of all processes, as micro-batches of one process are counted.
        """
        scheme, every = self.scheme, self.scheme.context.diagnostics_every
        self.looking = scheme.cost == "gradients" or bool(every and scheme.steps % every == 0)
        with counted_together(self.group):
            losses = super().micro_step(self.group.share(batch), number * self.group.size + self.group.rank, boundary)
        if boundary:
            self.group.average(self.statistics)
        return losses

    def _optimise(self, batch: Batch) -> None:
        self.looking = False
        self.group.average([parameter.grad for parameter in self.learned if parameter.grad is not None])
        super()._optimise(batch)

    def _as_seen(self, gradient: Tensor) -> Tensor:
        return self.group.mean(gradient) if self.looking else gradient
