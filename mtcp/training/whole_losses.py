"""Losses of a batch that is split over several processes, computed as if one process held it all.

A loss is a sum over valid entries divided by their number. Both are added up over the processes before the division:
a process with few valid pixels counts for little, and a task is absent only where no process has a valid pixel for it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mtcp.core.run_config import LossConfig
from mtcp.core.tasks import VOID, Task
from mtcp.training.group import Group
from mtcp.training.losses import LOSSES, Parts


class _WholeSum(torch.autograd.Function):
    """(sum s_r of this process r, S = sum_r s_r, number of processes N) -> S, with the derivative dS/ds_r set to N.

    The mean over processes of the resulting gradients is then the gradient of S: (1/N) sum_r N ds_r = sum_r ds_r.
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
    """Inside the block, every loss of `LOSSES` is that of the whole batch, of which this process holds a share.

    Value and number of entries are the same in all processes. The gradient is that of this process's share times the
    number of processes, so that its mean over the processes is the gradient of the whole batch's loss.
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
    """The share of negatives among the whole batch's valid pixels: the weight of positives in `balanced_bce`."""
    positive, valid = group.total(torch.stack([(target == 1).sum(), (target != VOID).sum()])).tolist()
    return 1 - positive / max(valid, 1)
