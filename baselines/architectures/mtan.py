"""MTAN (Liu et al., CVPR 2019) in its form for multi-stage encoders: tasks attend to shared features."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mtcp.api import (
    SCALES,
    Architecture,
    Bottle,
    BuildContext,
    ConvPair,
    MultiScaleHead,
    Outputs,
    PluginParameters,
    StageEncoder,
    architecture,
    at_size,
    per_task,
    separate,
)


class BottomsAndTops(StageEncoder):
    """image -> [b_4, u_4, b_8, u_8, ...]: for every stage, the input of its last residual block and its output.

    If a stage is a single block or not a sequence of blocks, both are its output.
    """

    def forward(self, image: Tensor) -> list[Tensor]:
        maps, x = [], image
        for index in range(len(SCALES)):
            bottom, x = self.stage(index, x)
            maps += [bottom, x]
        return maps


@architecture("mtan")
class MTAN(Architecture):
    """a_{t,s} = sigmoid(attention_{t,s}(z)) * u_s, with z = b_4 at s = 4, else cat(b_s, e_{t,s/2}).

    e_{t,s} = pool(refine_s(a_{t,s})), with refinements shared by the tasks; Head_t reads a_{t,4..32}. The encoder is
    shared; the refinements are downstream of it. (In the public code, heads read only a_{t,32}.)
    """

    coarsest = 32

    def __init__(self, context: BuildContext, parameters: PluginParameters) -> None:
        super().__init__()
        with context.part("encoder"):
            encoder = BottomsAndTops(context)
        self.encoder, widths = encoder, encoder.widths
        for before, scale, width in zip((0, *SCALES), SCALES, widths, strict=False):
            entering = 2 * width if before else width
            attention = per_task(
                context, f"attention{scale}", lambda task, i=entering, c=width: ConvPair(i, c // 4, c, 1, bias=True)
            )
            setattr(self, f"attention{scale}", attention)
        for scale, width, coarser in zip(SCALES, widths, widths[1:], strict=False):
            with context.part(f"refine{scale}"):
                setattr(self, f"refine{scale}", Bottle(width, coarser, always=True))
        self.head = per_task(context, "multi_scale_head", lambda task: MultiScaleHead(widths, task))

    def encode(self, image: Tensor) -> list[Tensor]:
        return separate(self.encoded(image))

    def decode(self, representation: list[Tensor], size: tuple[int, int]) -> Outputs:
        bottoms, tops = representation[::2], representation[1::2]
        attended: dict[str, list[Tensor]] = {task: [] for task in self.head}
        travelling: dict[str, Tensor] = {}
        for scale, bottom, top in zip(SCALES, bottoms, tops, strict=True):
            for task, maps in attended.items():
                seen = torch.cat((bottom, travelling[task]), 1) if travelling else bottom
                maps.append(getattr(self, f"attention{scale}")[task](seen).sigmoid_() * top)
            if scale < SCALES[-1]:
                coarser = bottoms[SCALES.index(scale) + 1].shape[-2:]
                # Task by task, so that the shared refinement uses each task's own batch statistics.
                travelling = {
                    task: _pooled(getattr(self, f"refine{scale}")(maps[-1]), coarser) for task, maps in attended.items()
                }
        return {task: {"final": at_size(self.head[task](maps), size)} for task, maps in attended.items()}


def _pooled(x: Tensor, size: torch.Size) -> Tensor:
    """2x2 max-pooling if the next stage halves the size."""
    return x if x.shape[-2:] == size else F.max_pool2d(x, 2, 2, ceil_mode=True)
