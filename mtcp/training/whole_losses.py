"""Losses of a batch that lies in several processes, counted as if it lay in one.

A loss is a sum over valid entries divided by their number. Both are added up over the processes before the division, so
that a process with few valid pixels counts for little, and a task is absent only where no process has a pixel of it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mtcp.core.config import LossConfig
from mtcp.core.tasks import VOID, Task
from mtcp.training.group import Group
from mtcp.training.losses import LOSSES, Parts


class _WholeSum(torch.autograd.Function):
    """(own sum s_r, sum over processes S, processes N) -> S, with dS/ds_r = N.

    The mean over processes of what each derives by that is the derivative of S: sum_r N ds_r / N.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, whole: Tensor, processes: int) -> Tensor:
        ctx.processes = processes
        return whole.to(own.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.processes * grads[0], None, None


@contextmanager
def counted_together(group: Group) -> Iterator[None]:
    """Inside the block every loss of `LOSSES` is that of the whole batch, of which this process holds its share.

    Value and number of entries are the same in all processes. The gradient is that of the own share, times the number
    of processes: its mean over the processes is the gradient of the whole batch's loss.
    """
    alone = dict(LOSSES)
    LOSSES.update({name: _together(loss, group) for name, loss in alone.items()})
    try:
        yield
    finally:
        LOSSES.update(alone)


def _together(loss: Callable[..., Parts], group: Group) -> Callable[[Tensor, Tensor, Task, LossConfig], Parts]:
    def whole(prediction: Tensor, target: Tensor, task: Task, config: LossConfig) -> Parts:
        if task.loss == "balanced_bce" and task.positive_weight is None:
            task = replace(task, positive_weight=_share_of_negatives(target, group))
        own, count = loss(prediction, target, task, config)
        total, entries = group.total(torch.stack([own.detach().double(), count.double()]))
        return _WholeSum.apply(own, total, group.size), entries.long()

    return whole


def _share_of_negatives(target: Tensor, group: Group) -> float:
    """The share of negatives among the whole batch's valid pixels, by which `balanced_bce` weighs positives."""
    positive, valid = group.total(torch.stack([(target == 1).sum(), (target != VOID).sum()])).tolist()
    return 1 - positive / max(valid, 1)
