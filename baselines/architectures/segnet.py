"""SegNet as used in the loss-weighting literature: one network with a head per task, or one network per task.

Body: SegNet (Badrinarayanan, Kendall and Cipolla, TPAMI 2017) with widths C, 2C, 4C, 8C, 8C, as in MTAN's code (Liu,
Johns and Davison, CVPR 2019); C is the benchmark's `channels`, 64 in the literature. A head is a 3x3 convolution
without norm or activation, then a 1x1 convolution. Outputs: log-probabilities, raw depth, normals of unit length. The
image is RGB in [0, 1].
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.api import Architecture, BuildContext, Normalise, Outputs, PluginParameters, Task, architecture, at_size


class Stage(NamedTuple):
    """Two maps of a stage: an early one (after its first convolution, or unpooled) and its output."""

    first: Tensor
    last: Tensor


def widths(width: int) -> tuple[int, ...]:
    """Channels of the five stages, from fine to coarse."""
    return width, 2 * width, 4 * width, 8 * width, 8 * width


def block(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution, BatchNorm, ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def initialise(module: nn.Module) -> None:
    """Initialise convolutions Xavier-normal with bias 0; BatchNorm keeps its default, the identity."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.xavier_normal_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


class SegNetBody(nn.Module):
    """Five stages down with max-pooling, and five up with unpooling at the stored indices.

    `encoder[k]` and `decoder[k]` have the resolution 1/2^k. Down: one convolution to the stage's width, then one
    (k < 2) or two of that width. Up: one convolution to the next finer width, then as many as on the way down.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = widths(width)
        before, after = (3, *wide[:-1]), (wide[0], *wide[:-1])
        self.as_is = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.encoder = nn.ModuleList(self._stage(k, before[k], wide[k]) for k in range(5))
        self.decoder = nn.ModuleList(self._stage(k, wide[k], after[k]) for k in range(5))
        initialise(self)

    @staticmethod
    def _stage(k: int, inputs: int, outputs: int) -> nn.ModuleList:
        further = [block(outputs, outputs) for _ in range(1 if k < 2 else 2)]
        return nn.ModuleList([block(inputs, outputs), nn.Sequential(*further)])

    def forward(self, image: Tensor) -> tuple[list[Stage], list[Stage]]:
        """Return the stages on the way down, from fine to coarse, and on the way up, from coarse to fine.

        `first` is the output of the first convolution on the way down, and the unpooled map on the way up. `last` is
        the stage's output, before pooling or before the next unpooling.
        """
        down, places, x = [], [], self.as_is(image)
        for stage in self.encoder:
            assert isinstance(stage, nn.ModuleList)
            first = stage[0](x)
            last = stage[1](first)
            down.append(Stage(first, last))
            x, place = F.max_pool2d(last, 2, return_indices=True)
            places.append(place)
        up = []
        for stage, place, same in zip(reversed(self.decoder), reversed(places), reversed(down), strict=True):
            assert isinstance(stage, nn.ModuleList)
            unpooled = F.max_unpool2d(x, place, [2, 2], output_size=same.last.shape[-2:])
            x = stage[1](stage[0](unpooled))
            up.append(Stage(unpooled, x))
        return down, up


class Head(nn.Module):
    """3x3 and 1x1 convolution, then the output's convention: log-probabilities, raw depth, unit normals."""

    def __init__(self, task: Task, inputs: int) -> None:
        super().__init__()
        self.task = task
        self.layers = nn.Sequential(nn.Conv2d(inputs, inputs, 3, padding=1), nn.Conv2d(inputs, task.channels, 1))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return as_output(self.task, self.layers(x))


def as_output(task: Task, x: Tensor) -> Tensor:
    """Convert raw values (B, C, H, W) to the literature's convention; there is no epsilon in normalising normals."""
    if task.kind == "semseg":
        return F.log_softmax(x, dim=1)
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True) if task.kind == "normals" else x


class _SegNet(Architecture):
    """The common part of the SegNets: body and heads, with initial values by name."""

    def __init__(self, context: BuildContext, parameters: PluginParameters) -> None:
        super().__init__()
        self.heads = nn.ModuleDict()
        for task in context.tasks:
            with context.part(f"{task.name}.head"):
                self.heads[task.name] = Head(task, context.channels)

    @staticmethod
    def body(context: BuildContext) -> SegNetBody:
        """Return a body; all bodies have equal initial values."""
        with context.part("segnet.body"):
            return SegNetBody(context.channels)

    def outputs(self, maps: dict[str, Tensor], size: tuple[int, int]) -> Outputs:
        """Apply each task's head to its map."""
        return {task: {"final": at_size(head(maps[task]), size)} for task, head in self.heads.items()}


@architecture("segnet_split")
class SegNetSplit(_SegNet):
    """One SegNet with a head per task; everything except the heads is shared."""

    def __init__(self, context: BuildContext, parameters: PluginParameters) -> None:
        super().__init__(context, parameters)
        self.encoder = self.body(context)

    def encode(self, image: Tensor) -> Tensor:
        return self.encoded(image)[1][-1].last

    def decode(self, representation: Tensor, size: tuple[int, int]) -> Outputs:
        return self.outputs(dict.fromkeys(self.heads, representation), size)


@architecture("segnet_single_task")
class SegNetSingleTask(_SegNet):
    """One SegNet per task, nothing shared: the literature's single-task baseline (STL)."""

    def __init__(self, context: BuildContext, parameters: PluginParameters) -> None:
        super().__init__(context, parameters)
        self.bodies = nn.ModuleDict({task.name: self.body(context) for task in context.tasks})

    def encode(self, image: Tensor) -> dict[str, Any]:
        self.check_batch(image)
        return {task: body(image)[1][-1].last for task, body in self.bodies.items()}

    def decode(self, representation: dict[str, Any], size: tuple[int, int]) -> Outputs:
        return self.outputs(representation, size)
