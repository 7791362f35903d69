"""Trivial baselines: predictions that do not depend on the image.

Per task, from the training split at the network's size: the relative frequency of every class (so the most frequent
class is predicted), the mean of depth, normals and regression values, the frequency of boundary or salient pixels.
`trivial_prior` uses statistics per pixel, `trivial_constant` over all pixels, as does the former for pixels without any
annotation.
"""

from collections.abc import Iterable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mtcp.api import (
    VOID,
    Architecture,
    Batch,
    BuildContext,
    Outputs,
    PluginParameters,
    Task,
    UserError,
    architecture,
    at_size,
    to_nchw,
)

_RAREST = 1e-6


@architecture("trivial_prior")
class TrivialPrior(Architecture):
    """Per pixel: most frequent class, mean depth, mean normal, frequency of edges and of salient pixels."""

    trainable: ClassVar[bool] = False
    per_pixel: ClassVar[bool] = True

    def __init__(self, context: BuildContext, parameters: PluginParameters) -> None:
        super().__init__()
        self.tasks, self.size = context.tasks, context.size
        for task in self.tasks:
            self.register_buffer(_buffer(task), torch.zeros(task.channels, *self.size))

    def fit(self, batches: Iterable[Batch]) -> None:
        """Collect the statistics in one pass over `batches`; raises `UserError` for a task without annotated pixels."""
        sums = {task.name: torch.zeros(task.channels, *self.size, dtype=torch.float64) for task in self.tasks}
        counts = {task.name: torch.zeros(1, *self.size, dtype=torch.float64) for task in self.tasks}
        for batch in batches:
            for task in self.tasks:
                values, valid = _indicators(task, batch.targets[task.name].cpu(), self.size)
                sums[task.name] += (values * valid).sum(0)
                counts[task.name] += valid.sum(0)
        for task in self.tasks:
            total, count = sums[task.name], counts[task.name]
            if not count.any():
                raise UserError(f"the training split has no annotated pixel of task '{task.name}'")
            everywhere = (total.sum((1, 2)) / count.sum())[:, None, None].expand_as(total)
            mean = torch.where(count > 0, total / count.clamp(min=1), everywhere) if self.per_pixel else everywhere
            getattr(self, _buffer(task)).copy_(_prediction(task, mean))

    def encode(self, image: Tensor) -> Tensor:
        return image

    def decode(self, representation: Tensor, size: tuple[int, int]) -> Outputs:
        batch = len(representation)
        return {
            task.name: {"final": at_size(getattr(self, _buffer(task))[None], size).expand(batch, -1, -1, -1)}
            for task in self.tasks
        }


@architecture("trivial_constant")
class TrivialConstant(TrivialPrior):
    """Over all pixels: most frequent class, mean depth, mean normal, frequency of edges and of salient pixels."""

    per_pixel: ClassVar[bool] = False


def _buffer(task: Task) -> str:
    """Name of the buffer with a task's prediction, chosen not to clash with attributes of a module."""
    return f"{task.name}_prior"


def _indicators(task: Task, target: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the values to average (B, C, H, W) and where they are annotated (B, 1, H, W), at the network's size.

    Boundaries are sampled here, not drawn again as in training, so that thin ones are rarer where sizes differ.
    """
    target = target.float()[:, None] if target.ndim == 3 else target.float()
    target = target if target.shape[-2:] == size else F.interpolate(target, size, mode="nearest-exact")
    valid = (target != VOID).all(dim=1, keepdim=True)
    if task.classifies:
        classes = torch.where(valid, target, 0)[:, 0].long()
        target = to_nchw(F.one_hot(classes, task.channels))
    return target.double(), valid.double()


def _prediction(task: Task, mean: Tensor) -> Tensor:
    """Convert means to network outputs: frequencies to logits, everything else unchanged."""
    if task.classifies:
        return mean.clamp(min=_RAREST).log()
    return torch.logit(mean, eps=_RAREST) if task.loss == "balanced_bce" else mean
