"""Heads: from a C-wide map at a task's channels, at the head's own resolution."""

from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.tasks import Task


def upsampled(x: Tensor, factor: int) -> Tensor:
    """Bilinear with align_corners true, as the heads do (the step to the input size has it false)."""
    return x if factor == 1 else F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=True)


class ConvHead(nn.Module):
    """conv1x1 (no bias), BN, ReLU, conv1x1, then `upsample`."""

    def __init__(self, channels: int, out: int, upsample: int) -> None:
        super().__init__()
        self.upsample = upsample
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return upsampled(self.conv2(F.relu(self.norm(self.conv1(x)))), self.upsample)


class DepthHead(nn.Module):
    """conv1x1 to C/2, bilinear x2, conv1x1 to 32, ReLU, conv1x1 to 1.

    Interpolation weights sum to one, so that a 1x1 convolution commutes with it: both come before the up-sampling,
    at a quarter of the cost.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // 2, 1)
        self.conv2 = nn.Conv2d(channels // 2, 32, 1)
        self.conv3 = nn.Conv2d(32, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(F.relu(upsampled(self.conv2(self.conv1(x)), 2)))


class DeepAuxiliaryHead(nn.Module):
    """conv1x1 (no bias), conv1x1 (no bias), BN, ReLU, conv1x1."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(F.relu(self.norm(self.conv2(self.conv1(x)))))


def task_head(task: Task, channels: int, upsample: int) -> nn.Module:
    """Return the head of the task's kind; only segmentation heads up-sample by the benchmark's factor."""
    if task.name == "depth":
        return DepthHead(channels)
    return ConvHead(channels, task.channels, upsample if task.loss == "cross_entropy" else 1)


def auxiliary_head(task: Task, channels: int, layout: str) -> nn.Module:
    """Return the head of the intermediate maps: the deep one in NYUD's layout and for semantic segmentation."""
    if layout == "nyud" or task.name == "semseg":
        return DeepAuxiliaryHead(channels, task.channels)
    return ConvHead(channels, task.channels, upsample=1)
