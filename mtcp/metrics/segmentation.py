"""Semantic segmentation and human parts: intersection over union from pooled counts.

With TP, FP, FN of class c pooled over all images: IoU_c = TP / (TP + FP + FN).

- `miou`: mean over all K classes; a class absent from truth and prediction alike counts as 0, as in the field
  (Vandenhende et al., TPAMI 2021, and the code that follows it);
- `miou_present`: mean over the classes that occur in the truth;
- `pixel_accuracy`: share of valid pixels with the right class.

Human parts: the background is a class; images in which no valid pixel is a part (1..6) are skipped, as in ASTMT
(Maninis et al., CVPR 2019).
"""

from typing import TYPE_CHECKING

import numpy as np

from mtcp.metrics.meter import ImageError, Meter, Statistics, non_finite, per_image
from mtcp.tasks import VOID

if TYPE_CHECKING:
    from torch import Tensor


def most_likely(logits: "Tensor") -> "Tensor":
    """Return the class (B, H, W), uint8, of the largest logit, the first of equal ones; K where a logit is NaN.

    The same as `argmax` otherwise, which on a CPU takes seven times as long over channels that lie apart.
    """
    import torch

    classes = logits.shape[1]
    largest = logits.amax(dim=1)
    code = torch.zeros(largest.shape, dtype=torch.uint8, device=logits.device)
    for index in range(classes):
        hit = (logits[:, index] == largest).view(torch.uint8)
        torch.maximum(code, hit.mul_(classes - index), out=code)
    return classes - code


class SegmentationMeter(Meter):
    """Counts `tp`, `fp`, `fn` (images, K), int32."""

    def update(self, prediction: "Tensor", target: "Tensor") -> Statistics:
        import torch

        self.check(prediction, target, channels_in_target=False)
        classes, batch = self.task.channels, len(prediction)
        target = target.long()
        valid = target != VOID
        self._check_labels(target, valid)
        broken = non_finite(prediction)
        found = most_likely(prediction.float()).long().masked_fill_(broken, classes)
        if self.task.name == "human_parts":
            valid = valid & (valid & (target > 0)).flatten(1).any(1)[:, None, None]
        # One table per image, (truth, prediction); the further row and column hold void and not-a-class.
        width = classes + 1
        cell = torch.where(valid, target, classes) * width + found
        cell += torch.arange(batch, device=cell.device)[:, None, None] * width**2
        table = torch.bincount(cell.flatten(), minlength=batch * width**2).reshape(batch, width, width)
        table = table[:, :classes].cpu().numpy().astype(np.int32)
        tp = np.diagonal(table, axis1=1, axis2=2).copy()
        return {
            "tp": tp,
            "fp": table[:, :, :classes].sum(1, dtype=np.int32) - tp,
            "fn": table.sum(2, dtype=np.int32) - tp,
            "non_finite": per_image(broken),
        }

    def compute(self, statistics: Statistics) -> dict[str, float]:
        tp, fp, fn = (statistics[name].sum(0, dtype=np.int64) for name in ("tp", "fp", "fn"))
        present = tp + fn
        if not present.any():
            return dict.fromkeys(("miou", "miou_present", "pixel_accuracy"), float("nan"))
        iou = tp / np.maximum(present + fp, 1)
        return {
            "miou": float(iou.mean()),
            "miou_present": float(iou[present > 0].mean()),
            "pixel_accuracy": float(tp.sum() / present.sum()),
        }

    def _check_labels(self, target: "Tensor", valid: "Tensor") -> None:
        wrong = valid & ((target < 0) | (target >= self.task.channels))
        if wrong.any():
            index = int(wrong.flatten(1).any(1).int().argmax())
            raise ImageError(
                f"task '{self.task.name}': label {int(target[wrong][0])} in the truth, where 0 to "
                f"{self.task.channels - 1} and {VOID} (void) are expected; mend the label or the task's `classes`",
                index,
            )
