"""NDDR-CNN (Gao et al., CVPR 2019): like cross-stitch networks, with a 1x1 convolution and BatchNorm as the unit."""

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from baselines.architectures.cross_stitch import Maps, Stitched, StitchedParameters
from mtcp.api import BuildContext, ConvNorm, architecture


class NDDRUnit(nn.ModuleDict):
    """y_t = ReLU(BN(conv_t(cat of all x_u in task order))), conv_t 1x1 without bias, T width -> width.

    Initially, the block of the task itself is a times the identity, every other block b times. Even with a = 1 and
    b = 0, y differs from x, because BatchNorm standardises every channel.
    """

    def __init__(self, tasks: list[str], width: int, own: float, other: float, momentum: float) -> None:
        super().__init__()
        for task in tasks:
            self[task] = mix = ConvNorm(len(tasks) * width, width, momentum=momentum)
            blocks = [(own if source == task else other) * torch.eye(width) for source in tasks]
            with torch.no_grad():
                mix.conv.weight.copy_(torch.cat(blocks, 1)[..., None, None])

    def forward(self, maps: Maps) -> Maps:
        joined = torch.cat(list(maps.values()), 1)
        return {task: F.relu_(self[task](joined)) for task in maps}


@architecture("nddr")
class NDDR(Stitched):
    """A unit after each of the four stages; the public code has a fifth, after the stem's pooling."""

    class Parameters(StitchedParameters):
        momentum: float = Field(0.05, gt=0, lt=1, description="momentum of the units' BatchNorm")

    def __init__(self, context: BuildContext, parameters: "NDDR.Parameters") -> None:
        names = [task.name for task in context.tasks]
        own, other = parameters.weights(len(names))
        super().__init__(context, lambda width: NDDRUnit(names, width, own, other, parameters.momentum))
