"""Heads: from a map (B, h, w, C) to a task's channels at the input size, (B, channels, H, W)."""

from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.core.tasks import Task
from mtcp.models.layers import Projection, at_size, resampled, to_nchw
from mtcp.models.normalisation import BatchNorm


class ConvHead(nn.Module):
    """conv1x1 (no bias), BN, ReLU, conv1x1, up-sampling by `upsample` (align_corners true), resizing to the input."""

    def __init__(self, channels: int, out: int, upsample: int) -> None:
        super().__init__()
        self.upsample = upsample
        self.conv1 = Projection(channels, channels, bias=False)
        self.norm = BatchNorm(channels)
        self.conv2 = Projection(channels, out)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        logits = to_nchw(self.conv2(F.relu(self.norm(self.conv1(x))))).contiguous()
        larger = tuple(self.upsample * side for side in logits.shape[-2:])
        return resampled(logits, (larger, True), (size, False))


class DepthHead(nn.Module):
    """conv1x1 to C/2, bilinear x2, conv1x1 to 32, ReLU, conv1x1 to 1.

    Interpolation weights sum to one, so a 1x1 convolution commutes with interpolation: the first two convolutions run
    before the up-sampling, at a quarter of the cost.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = Projection(channels, channels // 2)
        self.conv2 = Projection(channels // 2, 32)
        self.conv3 = nn.Conv2d(32, 1, 1)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        hidden = to_nchw(self.conv2(self.conv1(x)))
        hidden = resampled(hidden, ((2 * hidden.shape[-2], 2 * hidden.shape[-1]), True))
        return at_size(self.conv3(F.relu(hidden)), size)


class DeepAuxiliaryHead(nn.Module):
    """conv1x1 (no bias), conv1x1 (no bias), BN, ReLU, conv1x1."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = Projection(channels, channels, bias=False)
        self.conv2 = Projection(channels, channels, bias=False)
        self.norm = BatchNorm(channels)
        self.conv3 = Projection(channels, out)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        logits = self.conv3(F.relu(self.norm(self.conv2(self.conv1(x)))))
        return at_size(to_nchw(logits).contiguous(), size)


def task_head(task: Task, channels: int, upsample: int) -> nn.Module:
    """Return the head for the task's kind; only classification heads up-sample by the benchmark's factor."""
    if task.kind == "depth":
        return _started(DepthHead(channels), task)
    return _started(ConvHead(channels, task.channels, upsample if task.classifies else 1), task)


def auxiliary_head(task: Task, channels: int, layout: str) -> nn.Module:
    """Return the head for intermediate maps: the deep one in NYUD's layout and for semantic segmentation."""
    if layout != "pascal" or task.kind == "semseg":
        return _started(DeepAuxiliaryHead(channels, task.channels), task)
    return _started(ConvHead(channels, task.channels, upsample=1), task)


def _started(head: nn.Module, task: Task) -> nn.Module:
    """Set the bias of the head's last convolution to the task's `bias_initialisation`, where it has one."""
    last = [*head.children()][-1]
    assert isinstance(last, nn.Conv2d | nn.Linear)
    if task.bias_initialisation is not None and last.bias is not None:
        nn.init.constant_(last.bias, task.bias_initialisation)
    return head
