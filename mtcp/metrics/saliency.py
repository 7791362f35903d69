"""Saliency: intersection over union and F-measure, averaged over images per threshold, then the best threshold.

A pixel is salient where sigmoid(logit) > t, for 15 thresholds t = 0.2, 0.25 ... 0.9. Per image: IoU = TP / (TP +
FP + FN), which is 1 where truth and prediction are both empty; P = TP / (TP + FP), R = TP / (TP + FN), with 0/0 = 0.

- `max_miou`: the largest of the 15 mean IoUs; multi-task papers often print this number as "maxF" (ASTMT's
  evaluation, Maninis et al., CVPR 2019);
- `max_f`: the largest of the 15 values F = 2PR / (P + R) of mean P and mean R.

Images without a valid pixel are skipped.
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from mtcp.core.tasks import VOID
from mtcp.metrics.meter import ImageError, Meter, Statistics, non_finite, per_image

if TYPE_CHECKING:
    from torch import Tensor

THRESHOLDS: Final = np.linspace(0.2, 0.9, 15)


class SaliencyMeter(Meter):
    """Counts `tp`, `fp`, `fn` (images, 15), int32, and `pixels` (images,)."""

    def update(self, prediction: "Tensor", target: "Tensor") -> Statistics:
        import torch

        self.task.require_shapes(prediction, target)
        check_binary(self.task.name, target)
        valid, positive = target != VOID, target == 1
        broken = non_finite(prediction)[:, None]
        probability = prediction.float().sigmoid().masked_fill(broken, 0)
        # A pixel of level k exceeds exactly the first k thresholds.
        limits = torch.from_numpy(THRESHOLDS.astype(np.float32)).to(probability.device)
        level = torch.bucketize(probability, limits)
        positives = _at_or_above(level, valid & positive, len(THRESHOLDS))
        negatives = _at_or_above(level, valid & ~positive, len(THRESHOLDS))
        return {
            "tp": positives[:, 1:],
            "fp": negatives[:, 1:],
            "fn": positives[:, :1] - positives[:, 1:],
            "pixels": per_image(valid),
            "non_finite": per_image(broken),
        }

    def compute(self, statistics: Statistics) -> dict[str, float]:
        counted = statistics["pixels"] > 0
        if not counted.any():
            return {"max_miou": float("nan"), "max_f": float("nan")}
        tp, fp, fn = (statistics[name][counted].astype(float) for name in ("tp", "fp", "fn"))
        union = tp + fp + fn
        iou = np.where(union > 0, tp / np.maximum(union, 1), 1).mean(0)
        precision = (tp / np.maximum(tp + fp, 1)).mean(0)
        recall = (tp / np.maximum(tp + fn, 1)).mean(0)
        both = precision + recall
        f = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
        return {"max_miou": float(iou.max()), "max_f": float(f.max())}


def check_binary(task: str, target: "Tensor") -> None:
    """Raise `ImageError` unless `target` contains only 0, 1 and void."""
    wrong = (target != 0) & (target != 1) & (target != VOID)
    if wrong.any():
        raise ImageError(
            f"task '{task}': {float(target[wrong][0]):g} in the truth, where 0, 1 and {VOID} (void) are expected; "
            f"correct the label",
            int(wrong.flatten(1).any(1).int().argmax()),
        )


def _at_or_above(level: "Tensor", mask: "Tensor", levels: int) -> np.ndarray:
    """Return (B, levels + 1): how many pixels of `mask` have a level of at least 0, 1 ... levels."""
    import torch

    batch, width = len(level), levels + 2
    level = torch.where(mask, level, levels + 1)
    level = level + torch.arange(batch, device=level.device)[:, None, None, None] * width
    counts = torch.bincount(level.flatten(), minlength=batch * width).reshape(batch, width)[:, : levels + 1]
    return counts.flip(1).cumsum(1).flip(1).cpu().numpy().astype(np.int32)
