"""Semantic segmentation and human parts: intersection over union from pooled counts.

With TP, FP, FN of class c pooled over all images: IoU_c = TP / (TP + FP + FN).

- `miou`: mean over all K classes; a class absent from both truth and prediction counts as 0, as is usual
  (Vandenhende et al., TPAMI 2021, and the code based on it);
- `miou_present`: mean over the classes that occur in the truth;
- `pixel_accuracy`: fraction of valid pixels with the right class.

Human parts: the background is a class; images without a valid pixel of a part (1..6) are skipped, as in ASTMT
(Maninis et al., CVPR 2019).
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from mtcp.core.tasks import VOID
from mtcp.metrics.meter import ImageError, Meter, Statistics, non_finite, over_strips, per_image

if TYPE_CHECKING:
    from torch import Tensor

#: Pixels whose logits are processed together: 40 classes of float32 take 2.6 MB.
_BLOCK: Final = 16384


def most_likely(logits: "Tensor") -> tuple["Tensor", bool]:
    """Return the class (B, H, W) of the largest logit (B, K, H, W), and whether all logits are finite.

    Among equal logits the first wins, as for `argmax`; with a NaN the class is arbitrary. On a CPU, `argmax` over
    strided channels takes ten times as long as finding the maximum and then its channel, block by block in the
    processor's cache, where checking for non-finite values costs little extra.
    """
    import torch

    if logits.device.type != "cpu":
        return logits.argmax(dim=1), bool(torch.isfinite(logits.sum()))
    batch, classes, height, width = logits.shape
    # The first channel has the largest rank. A rank of 0 means no channel, which happens only with a NaN.
    rank = np.arange(classes, 0, -1, dtype=np.uint8)[:, None]
    found = np.empty((batch, height * width), dtype=np.uint8)
    hits = np.empty((classes, _BLOCK), dtype=bool)
    finite = True
    for image, row in zip(logits.reshape(batch, classes, -1).numpy(), found, strict=True):
        for start in range(0, height * width, _BLOCK):
            block = image[:, start : start + _BLOCK]
            highest = block.max(axis=0)
            # Non-finite values show in the maximum (NaN, infinity) or in the minimum (minus infinity).
            finite = finite and bool(np.isfinite(highest).all()) and bool(np.isfinite(block.min()))
            hit = np.equal(block, highest, out=hits[:, : block.shape[1]]).view(np.uint8)
            hit *= rank
            hit.max(axis=0, out=row[start : start + _BLOCK])
    return torch.from_numpy(np.subtract(classes, found, dtype=np.uint8)).reshape(batch, height, width), finite


class SegmentationMeter(Meter):
    """Counts `tp`, `fp`, `fn` (images, K), int32."""

    def update(self, prediction: "Tensor", target: "Tensor") -> Statistics:
        self.task.require_shapes(prediction, target)
        classes = self.task.channels
        lowest, highest = target.aminmax()
        if lowest < 0 or highest > VOID:
            raise self._wrong_label((target < 0) | (target > VOID), target)
        sums = over_strips(self._tables, prediction, target)
        table = sums["table"]
        if table[:, classes:VOID].any():
            raise self._wrong_label((target >= classes) & (target != VOID), target)
        table = table[:, :classes].astype(np.int32)
        if self.task.kind == "human_parts":
            table[table[:, 1:].sum(axis=(1, 2)) == 0] = 0
        tp = np.diagonal(table, axis1=1, axis2=2).copy()
        return {
            "tp": tp,
            "fp": table[:, :, :classes].sum(1, dtype=np.int32) - tp,
            "fn": table.sum(2, dtype=np.int32) - tp,
            "non_finite": sums["non_finite"],
        }

    def _tables(self, prediction: "Tensor", target: "Tensor") -> Statistics:
        """Count `table` (B, 256, K + 1): pixels by label and predicted class; the last column means no class."""
        import torch

        classes, batch = self.task.channels, len(prediction)
        found, finite = most_likely(prediction.float())
        broken = torch.zeros(batch, 1, 1, dtype=torch.bool) if finite else non_finite(prediction)
        if not finite:
            found = found.masked_fill(broken, classes)
        rows, columns = VOID + 1, classes + 1
        # Same dtype first: adding different dtypes takes several times as long.
        cell = (target.int() * columns).add_(found.int())
        cell += torch.arange(batch, device=cell.device, dtype=torch.int32)[:, None, None] * (rows * columns)
        table = torch.bincount(cell.flatten(), minlength=batch * rows * columns).reshape(batch, rows, columns)
        return {"table": table.cpu().numpy(), "non_finite": per_image(broken)}

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

    def _wrong_label(self, wrong: "Tensor", target: "Tensor") -> ImageError:
        return ImageError(
            f"task '{self.task.name}': label {int(target[wrong][0])} in the truth, where 0 to "
            f"{self.task.channels - 1} and {VOID} (void) are expected; correct the label or the task's `classes`",
            int(wrong.flatten(1).any(1).int().argmax()),
        )
