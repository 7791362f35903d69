"""Building blocks of published decoders, on maps (B, C, H, W): residual blocks and the multi-scale head.

Convolutions of size k have stride 1 and padding k // 2; BatchNorm has eps 1e-5 and momentum 0.1 unless said.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.core.tasks import Task
from mtcp.models.layers import at_size
from mtcp.models.normalisation import BatchNorm2d


class ConvNorm(nn.Module):
    """norm(conv x): a convolution `before` -> `after`, then BatchNorm."""

    def __init__(self, before: int, after: int, kernel: int = 1, *, bias: bool = False, momentum: float = 0.1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=bias)
        self.norm = BatchNorm2d(after, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class ConvPair(nn.Module):
    """norm2(conv2(ReLU(norm1(conv1 x)))): two convolutions `before` -> `middle` -> `after`."""

    def __init__(
        self, before: int, middle: int, after: int, kernel: int = 3, *, dilation: int = 1, bias: bool = False
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv1 = nn.Conv2d(before, middle, kernel, padding=padding, dilation=dilation, bias=bias)
        self.norm1 = BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, after, kernel, padding=padding, dilation=dilation, bias=bias)
        self.norm2 = BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)), inplace=True)))


class _Shortcut(nn.Module):
    """ReLU(r + x); x first passes a 1x1 convolution and its norm where the widths differ or `always` is true."""

    def __init__(self, before: int, after: int, *, always: bool = False) -> None:
        super().__init__()
        if before != after or always:
            self.shortcut = nn.Conv2d(before, after, 1, bias=False)
            self.shortcut_norm = BatchNorm2d(after)

    def joined(self, residual: Tensor, x: Tensor) -> Tensor:
        if hasattr(self, "shortcut"):
            x = self.shortcut_norm(self.shortcut(x))
        return F.relu_(residual + x)


class Basic(_Shortcut):
    """ResNet's basic block: two 3x3 convolutions `before` -> `after` (He et al., CVPR 2016)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.norm1 = BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        return self.joined(self.norm2(self.conv2(F.relu_(self.norm1(self.conv1(x))))), x)


class Bottle(_Shortcut):
    """ResNet's bottleneck block: convolutions 1x1, 3x3, 1x1, with after / 4 channels in the middle."""

    def __init__(self, before: int, after: int, *, always: bool = False) -> None:
        super().__init__(before, after, always=always)
        middle = after // 4
        self.conv1 = nn.Conv2d(before, middle, 1, bias=False)
        self.norm1 = BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1, bias=False)
        self.norm2 = BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, after, 1, bias=False)
        self.norm3 = BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu_(self.norm1(self.conv1(x)))
        hidden = F.relu_(self.norm2(self.conv2(hidden)))
        return self.joined(self.norm3(self.conv3(hidden)), x)


def gathered(maps: list[Tensor]) -> Tensor:
    """Resize maps, finest first, to the size of the finest and concatenate them: (B, S, h, w), S the sum of widths."""
    size = maps[0].shape[-2:]
    return torch.cat([at_size(level, size) for level in maps], 1)


class MultiScaleHead(nn.Module):
    """conv2(ReLU(norm(conv1(`gathered` maps)))), S -> S -> the task's channels, at the size of the finest map.

    The head of HRNet-based dense prediction (Wang et al., TPAMI 2020).
    """

    def __init__(self, widths: list[int], task: Task) -> None:
        super().__init__()
        total = sum(widths)
        self.conv1 = nn.Conv2d(total, total, 1)
        self.norm = BatchNorm2d(total)
        self.conv2 = prediction(total, task)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.conv2(F.relu_(self.norm(self.conv1(gathered(maps)))))


def prediction(before: int, task: Task) -> nn.Conv2d:
    """Return a 1x1 convolution to the task's channels; its bias starts at `bias_initialisation` where that is set."""
    conv = nn.Conv2d(before, task.channels, 1)
    if task.bias_initialisation is not None and conv.bias is not None:
        nn.init.constant_(conv.bias, task.bias_initialisation)
    return conv
