"""SegNet-MTAN: a shared SegNet with attention masks over its maps per task (Liu, Johns and Davison, CVPR 2019)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.architectures.segnet import Stage, _SegNet, block, initialise, widths
from mtcp.api import BuildContext, Outputs, PluginParameters, architecture


def mask(inputs: int, outputs: int) -> nn.Sequential:
    """Two 1x1 convolutions with BatchNorm: ReLU, then a sigmoid."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 1), nn.BatchNorm2d(outputs), nn.Sigmoid(),
    )  # fmt: skip


class Attention(nn.Module):
    """The masks of one task, five down and five up: m = mask([first map, attended map of the previous stage])."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = widths(width)
        self.down = nn.ModuleList([mask(wide[0], wide[0]), *(mask(2 * w, w) for w in wide[1:])])
        after = (wide[0], *wide[:-1])
        self.up = nn.ModuleList(mask(w + a, a) for w, a in zip(wide, after, strict=True))
        initialise(self)


class BetweenStages(nn.Module):
    """The 3x3 blocks that pass an attended map to the next stage; shared by all tasks, with one call per task."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = widths(width)
        self.down = nn.ModuleList(block(w, n) for w, n in zip(wide, (*wide[1:], wide[-1]), strict=True))
        self.up = nn.ModuleList(block(w, a) for w, a in zip(wide, (wide[0], *wide[:-1]), strict=True))
        initialise(self)


@architecture("segnet_mtan")
class SegNetMTAN(_SegNet):
    """A shared SegNet; per task and stage, the second map is multiplied by a mask; heads read the last attended map.

    Only the SegNet is upstream of all tasks (`encoder`). The blocks between the stages also affect several tasks, and
    `shared_parameters: all_shared` includes them. `all_but_heads` also includes the masks, which belong to one task
    each, as in the code of Nash-MTL, FAMO and FairGrad.
    """

    def __init__(self, context: BuildContext, parameters: PluginParameters) -> None:
        super().__init__(context, parameters)
        self.encoder = self.body(context)
        with context.part("mtan.between"):
            self.between = BetweenStages(context.channels)
        self.attention = nn.ModuleDict()
        for task in context.tasks:
            with context.part(f"{task.name}.attention"):
                self.attention[task.name] = Attention(context.channels)

    def encode(self, image: Tensor) -> tuple[list[Stage], list[Stage]]:
        return self.encoded(image)

    def decode(self, representation: tuple[list[Stage], list[Stage]], size: tuple[int, int]) -> Outputs:
        attended = {task: self._attended(task, *representation) for task in self.attention}
        return self.outputs(attended, size)

    def _attended(self, task: str, down: list[Stage], up: list[Stage]) -> Tensor:
        """Return one task's last attended map."""
        attention = self.attention[task]
        assert isinstance(attention, Attention)
        before: list[Tensor] = []
        for stage, masking, carry in zip(down, attention.down, self.between.down, strict=True):
            attended = masking(_joined(stage.first, before)) * stage.last
            before = [F.max_pool2d(carry(attended), 2)]
        attended = before[0]
        for stage, masking, carry in zip(up, reversed(attention.up), reversed(self.between.up), strict=True):
            larger = F.interpolate(attended, stage.first.shape[-2:], mode="bilinear", align_corners=True)
            attended = masking(_joined(stage.first, [carry(larger)])) * stage.last
        return attended


def _joined(first: Tensor, before: list[Tensor]) -> Tensor:
    return torch.cat([first, *before], dim=1) if before else first
