"""One micro-batch: forward pass, losses, the scheme's backward pass and, where due, the optimiser step."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from mtcp.core.randomness import seed_all, stream
from mtcp.core.run_config import RunConfig
from mtcp.data.loading.batches import Batch, Split, evaluation_batches
from mtcp.models.architecture import Architecture
from mtcp.models.layers import at_size
from mtcp.models.outputs import require_outputs
from mtcp.models.precision import at_least_fp32
from mtcp.training.losses import batch_losses, task_loss, weighed_losses
from mtcp.training.optimisation import build_optimiser
from mtcp.weighting.base import LossNotFinite, Scheme, own_faults_named
from mtcp.weighting.shared import head_parameters


class Stepper:
    """Runs the network, scheme and optimiser of one run on a batch."""

    def __init__(self, config: RunConfig, network: Architecture, scheme: Scheme, device: torch.device) -> None:
        settings = config.training
        self.config, self.settings, self.device = config, settings, device
        if settings.channels_last:
            network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.network, self.scheme = network, scheme
        self.encode = torch.compile(network.encode) if settings.compile else network.encode
        self.decode = torch.compile(network.decode) if settings.compile else network.decode
        heads = head_parameters(network) if settings.clip == "all_but_heads" else set()
        self.clipped = [parameter for parameter in network.parameters() if parameter not in heads]
        self.optimiser = build_optimiser(network, settings, device)

    @property
    def rate(self) -> float:
        """The learning rate of the network's parameters, before a backbone's multiplier."""
        group = self.optimiser.param_groups[0]
        return group["lr"] / group["multiplier"]

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of all parameters."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["multiplier"]

    def micro_step(self, batch: Batch, number: int, boundary: bool, batches: int = 1) -> dict[str, float]:
        """Train on the run's batch `number`, with an optimiser step where `boundary` is true; return the task losses.

        `batches`: the number of micro-batches in the optimiser step, whose gradient is the mean of theirs.

        Raises `Diverged` where a loss is not finite or the scheme cannot go on.
        """
        seed_all(stream(self.config.benchmark, self.config.seed, "noise", number))
        image = batch.image
        if self.settings.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        with self.autocast(), own_faults_named(f"architecture '{self.network.name}', step {number}"):
            representation = self.encode(image)
            height, width = image.shape[-2:]
            outputs = self.decode(representation, (height, width))
        require_outputs(self.network, outputs, self.config.task_list, image)
        final, auxiliary = batch_losses(outputs, batch.targets, self.config.task_list, self.config.losses)
        values = {task: _finite(task, loss.item(), number) for task, loss in final.items()}
        # A loss without a gradient trains nothing: the scheme does not see the task, and the history has no weight.
        final = {task: loss for task, loss in final.items() if loss.requires_grad}
        losses, outside = weighed_losses(final, auxiliary, self.config.losses)
        with own_faults_named(self.scheme.at()):
            self.scheme.backward(losses, outside, representation, 1 / batches, boundary)
        if boundary:
            self._optimise(batch)
        return values

    def _optimise(self, batch: Batch) -> None:
        if self.settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.clipped, self.settings.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        with own_faults_named(self.scheme.at()):
            self.scheme.close_step(lambda: self._losses_again(batch))

    def _losses_again(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            return weighed_losses(*self._all_losses(batch), self.config.losses)[0]

    def losses_on(self, batch: Batch) -> dict[str, Tensor]:
        """The tasks' final losses, with their autograd graph, on a batch that is not trained on."""
        return self._all_losses(batch.to(self.device))[0]

    def _all_losses(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        with self.autocast(), own_faults_named(f"architecture '{self.network.name}'"):
            outputs = self.network(batch.image)
        return batch_losses(outputs, batch.targets, self.config.task_list, self.config.losses)

    def autocast(self) -> AbstractContextManager[Any]:
        """The autocast context of forward passes."""
        if self.settings.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    @torch.no_grad()
    def validation_losses(self, validation: Split) -> dict[str, float]:
        """Mean loss per task over the validation images, for choosing the best epoch without test images."""
        self.network.eval()
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        for batch in evaluation_batches(validation, self.config, self.settings.batch_size):
            batch = batch.to(self.device)
            with self.autocast(), own_faults_named(f"architecture '{self.network.name}', validation"):
                outputs = self.network(batch.image)
            for task in self.config.task_list:
                target = batch.targets[task.name]
                prediction = at_size(at_least_fp32(outputs[task.name]["final"]), target.shape[-2:])
                loss = task_loss(task, prediction, target, self.config.losses)
                if loss is not None:
                    sums[task.name] = sums.get(task.name, 0.0) + loss.item() * len(batch.ids)
                    counts[task.name] = counts.get(task.name, 0) + len(batch.ids)
        return {task: total / counts[task] for task, total in sums.items()}


def _finite(task: str, value: float, number: int) -> float:
    if not math.isfinite(value):
        raise LossNotFinite(f"loss of task '{task}' became {value} at step {number}", number)
    return value
