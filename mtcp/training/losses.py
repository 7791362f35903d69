"""Losses of the tasks, final and auxiliary.

Every loss is a sum over valid entries divided by their number; entries marked `VOID` in the target are left out
(conventions of `mtcp.core.tasks`). A task without a valid entry in the batch has no loss and is absent from the step:
with a loss of zero, logarithmic weighting and epoch means would treat the task as solved.

Sources: values agree with the released code of MT-CP (Fontana et al., WACV 2025); the balanced cross-entropy is
HED's (Xie and Tu, ICCV 2015, equation 2). All sums are in float32, under autocast as well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from mtcp.core.errors import UserError
from mtcp.core.run_config import LossConfig
from mtcp.core.tasks import VOID, Task
from mtcp.models.precision import at_least_fp32

#: A loss as (sum over valid entries, their number); both are 0-dimensional tensors.
Parts = tuple[Tensor, Tensor]


def cross_entropy(prediction: Tensor, target: Tensor, task: Task, config: LossConfig) -> Parts:
    """Softmax cross-entropy of logits (B, K, H, W) with classes (B, H, W), per valid pixel."""
    total = F.cross_entropy(at_least_fp32(prediction), target.long(), ignore_index=VOID, reduction="sum")
    return total, (target != VOID).sum()


def nll(prediction: Tensor, target: Tensor, task: Task, config: LossConfig) -> Parts:
    """Negative log-likelihood of log-probabilities (B, K, H, W), per valid pixel: for outputs after a log-softmax."""
    total = F.nll_loss(at_least_fp32(prediction), target.long(), ignore_index=VOID, reduction="sum")
    return total, (target != VOID).sum()


def depth_l1(prediction: Tensor, target: Tensor, task: Task, config: LossConfig) -> Parts:
    """Absolute error (B, 1, H, W) in metres; with `config.depth_cap`, only pixels nearer than the cap are valid."""
    valid = target != VOID
    if config.depth_cap is not None:
        valid &= target < config.depth_cap
    return _masked((at_least_fp32(prediction) - target).abs(), valid)


def regression_l1(prediction: Tensor, target: Tensor, task: Task, config: LossConfig) -> Parts:
    """Absolute error (B, 1, H, W) in the target's unit, per valid pixel."""
    return _masked((at_least_fp32(prediction) - target).abs(), target != VOID)


def regression_mse(prediction: Tensor, target: Tensor, task: Task, config: LossConfig) -> Parts:
    """Squared error (B, 1, H, W) in the target's unit, per valid pixel."""
    return _squared(prediction, target)


def normals_mse(prediction: Tensor, target: Tensor, task: Task, config: LossConfig) -> Parts:
    """Squared error of the unnormalised output (B, 3, H, W), per component: the released code's loss."""
    return _squared(prediction, target)


def normals_l1(prediction: Tensor, target: Tensor, task: Task, config: LossConfig) -> Parts:
    """Absolute error of the output (B, 3, H, W) scaled to unit length, per component: the field's usual loss."""
    return _masked((F.normalize(at_least_fp32(prediction), dim=1) - target).abs(), target != VOID)


def normals_cosine(prediction: Tensor, target: Tensor, task: Task, config: LossConfig) -> Parts:
    """1 - p.t per valid pixel, p and t not normalised: the loss of the loss-weighting literature, for unit outputs.

    As there, a target that augmentation has shortened (`scale_crop`) counts with its length. A pixel is valid where its
    target is; the literature's code requires a non-zero sum over components instead, which drops some valid normals.
    """
    valid = target[:, 0] != VOID
    return _masked(1 - (at_least_fp32(prediction) * target).sum(dim=1), valid)


def balanced_bce(prediction: Tensor, target: Tensor, task: Task, config: LossConfig) -> Parts:
    """Binary cross-entropy of logits (B, 1, H, W): positives weighted by w, negatives by 1 - w, per valid pixel.

    w is `task.positive_weight`; where that is None, w is the share of negatives among the batch's valid pixels.
    """
    valid = target != VOID
    positive = target == 1
    weight = task.positive_weight
    if weight is None:
        weight = 1 - positive.sum() / valid.sum().clamp(min=1)
    prediction = at_least_fp32(prediction)
    entropy = F.binary_cross_entropy_with_logits(prediction, positive.to(prediction.dtype), reduction="none")
    return _masked(torch.where(positive, weight, 1 - weight) * entropy, valid)


LOSSES: Final[dict[str, Callable[[Tensor, Tensor, Task, LossConfig], Parts]]] = {
    loss.__name__: loss
    for loss in (
        cross_entropy,
        nll,
        depth_l1,
        normals_mse,
        normals_l1,
        normals_cosine,
        balanced_bce,
        regression_l1,
        regression_mse,
    )
}


def task_loss(task: Task, prediction: Tensor, target: Tensor, config: LossConfig) -> Tensor | None:
    """Return the mean loss of `task` over the batch's valid entries, or None where there are none.

    Raises `UserError` for an unknown loss and for shapes that do not match.
    """
    total, count = _parts(task, prediction, target, config)
    return total / count if count else None


def batch_losses(
    outputs: Mapping[str, Mapping[str, Tensor]],
    targets: Mapping[str, Tensor],
    tasks: Sequence[Task],
    config: LossConfig,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the final loss of every task present in the batch, and the weighted sum of its auxiliary losses, if any.

    `outputs[task][name]` has the name "final" and, where the network has them, "initial", "aux1", "aux2". Each output
    but the final one has its task's loss (see `LossConfig.auxiliary` for the released code's exceptions), weighted by
    `config.auxiliary_weight`.
    """
    parts = {task.name: _parts(task, outputs[task.name]["final"], targets[task.name], config) for task in tasks}
    # All counts are read together, so that the host waits for the accelerator once per step and not once per task.
    counts = dict(zip(parts, torch.stack([count for _, count in parts.values()]).tolist(), strict=True))
    final = {name: total / count for name, (total, count) in parts.items() if counts[name]}
    auxiliary = {}
    for task in tasks:
        if task.name not in final:
            continue
        others = [
            total / count
            for reading, prediction in _auxiliary(task, outputs[task.name], config)
            for total, count in (_parts(reading, prediction, targets[task.name], config),)
        ]
        if others:
            auxiliary[task.name] = config.auxiliary_weight * torch.stack(others).sum()
    return final, auxiliary


def weighed_losses(
    final: Mapping[str, Tensor], auxiliary: Mapping[str, Tensor], config: LossConfig
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Return every task's loss as the weighting scheme sees it, and the sum of the losses that bypass the scheme.

    `config.auxiliary_weighting`: with `own_task`, a task's auxiliary losses are part of its loss and nothing bypasses
    the scheme; with `unweighted`, as in the released code, the scheme weighs only the final losses.
    """
    if config.auxiliary_weighting == "own_task":
        return {task: loss + auxiliary[task] if task in auxiliary else loss for task, loss in final.items()}, None
    return dict(final), torch.stack(list(auxiliary.values())).sum() if auxiliary else None


def _auxiliary(task: Task, outputs: Mapping[str, Tensor], config: LossConfig) -> list[tuple[Task, Tensor]]:
    """Return (task with the loss that applies, prediction) for every output but the final one."""
    others = {name: prediction for name, prediction in outputs.items() if name != "final"}
    reading = task
    if config.auxiliary == "as_released":
        if task.kind == "normals":
            # The depth loss takes the components for metres: only void (255) is above its cap.
            reading = replace(task, loss="depth_l1")
        elif task.kind == "human_parts":
            others.pop("aux1", None)
    return [(reading, prediction) for prediction in others.values()]


def _squared(prediction: Tensor, target: Tensor) -> Parts:
    return _masked((at_least_fp32(prediction) - target).square(), target != VOID)


def _masked(values: Tensor, valid: Tensor) -> Parts:
    return torch.where(valid, values, 0).sum(), valid.sum()


def _parts(task: Task, prediction: Tensor, target: Tensor, config: LossConfig) -> Parts:
    if task.loss not in LOSSES:
        raise UserError(f"task '{task.name}': unknown loss '{task.loss}': the losses are {', '.join(LOSSES)}")
    task.require_shapes(prediction, target)
    return LOSSES[task.loss](prediction, target, task, config)
