"""Cross-stitch networks (Misra et al., CVPR 2016): one encoder per task, whose maps are mixed after every stage."""

from collections.abc import Callable
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mtcp.api import (
    SCALES,
    Architecture,
    BuildContext,
    MultiScaleHead,
    Outputs,
    PluginParameters,
    StageEncoder,
    architecture,
    at_size,
    per_task,
    separate,
)

Maps = dict[str, Tensor]


class StitchedEncoders(nn.Module):
    """One encoder per task, with equal initial values, and the units after all stages except the last."""

    def __init__(self, context: BuildContext, unit: Callable[[int], nn.Module]) -> None:
        super().__init__()
        with context.part("encoder"):
            first = StageEncoder(context)
        self.widths = first.widths
        self.encoder = nn.ModuleDict()
        for index, task in enumerate(context.tasks):
            with context.part("encoder"):
                self.encoder[task.name] = first if index == 0 else StageEncoder(context)
        for scale, width in zip(SCALES[:-1], self.widths[:-1], strict=True):
            with context.part(f"unit{scale}"):
                setattr(self, f"unit{scale}", unit(width))

    def forward(self, image: Tensor) -> list[Maps]:
        """Return [y4, y8, y16, x32], by task: the maps after the units, and the last stage's map before its unit."""
        mixed: list[Maps] = []
        maps = dict.fromkeys(self.encoder, image)
        for index, scale in enumerate(SCALES):
            maps = {task: self._stage(task, index, x) for task, x in maps.items()}
            if scale < SCALES[-1]:
                maps = getattr(self, f"unit{scale}")(maps)
            mixed.append(maps)
        return mixed

    def _stage(self, task: str, index: int, x: Tensor) -> Tensor:
        return cast(StageEncoder, self.encoder[task]).stage(index, x)[1]


class StitchedParameters(PluginParameters):
    """The initial values of both kinds of units."""

    own: float | None = Field(
        None, gt=0, le=1, description="initial weight a of a task's own map; null: 0.9 for two tasks, else 0.8"
    )

    def weights(self, tasks: int) -> tuple[float, float]:
        """Return the initial weights of a task's own map, a, and of every other map, (1 - a) / (T - 1)."""
        own = self.own or (0.9 if tasks == 2 else 0.8)
        return own, (1 - own) / max(tasks - 1, 1)


class Stitched(Architecture):
    """x_{t,s} = stage_{t,s}(y_t of the previous stage), y_{.,s} = unit_s(x_{.,s}); Head_t reads y_{t,4..32}.

    `unit` returns, for a width, a module that maps {task: x} to {task: y}. Shared: all encoders and all units except
    the last, so R consists of y_{t,4}, y_{t,8}, y_{t,16} and x_{t,32} of every task.
    """

    coarsest = 32

    def __init__(self, context: BuildContext, unit: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.names = [task.name for task in context.tasks]
        encoder = StitchedEncoders(context, unit)
        self.encoder, widths = encoder, encoder.widths
        with context.part("unit32"):
            self.unit32 = unit(widths[-1])
        self.head = per_task(context, "multi_scale_head", lambda task: MultiScaleHead(widths, task))

    def encode(self, image: Tensor) -> list[Tensor]:
        return separate([maps[task] for maps in self.encoded(image) for task in self.names])

    def decode(self, representation: list[Tensor], size: tuple[int, int]) -> Outputs:
        count = len(self.names)
        scales = [representation[start : start + count] for start in range(0, len(representation), count)]
        last = self.unit32(dict(zip(self.names, scales[-1], strict=True)))
        return {
            task: {"final": at_size(self.head[task]([*(maps[index] for maps in scales[:-1]), last[task]]), size)}
            for index, task in enumerate(self.names)
        }


class CrossStitchUnit(nn.Module):
    """y_t = sum_u w[t, u, :] * x_u, per channel; `weight` is (T, T, width): target, source, channel."""

    def __init__(self, tasks: int, width: int, own: float, other: float) -> None:
        super().__init__()
        start = torch.full((tasks, tasks, width), other)
        start[range(tasks), range(tasks)] = own
        self.weight = nn.Parameter(start)

    def forward(self, maps: Maps) -> Maps:
        sources = list(maps.values())
        weight = self.weight[..., None, None].to(sources[0].dtype)
        mixed = {}
        for target, task in enumerate(maps):
            total = weight[target, 0] * sources[0]
            for source in range(1, len(sources)):
                total = torch.addcmul(total, weight[target, source], sources[source])
            mixed[task] = total
        return mixed


@architecture("cross_stitch")
class CrossStitch(Stitched):
    """Units weigh maps channel by channel, initially a task's own map by a and every other by (1 - a) / (T - 1).

    The public code trains single-task networks first, then the units with SGD at 100 times the learning rate. Here
    all parameters are trained together with the run's optimiser.
    """

    Parameters = StitchedParameters

    def __init__(self, context: BuildContext, parameters: StitchedParameters) -> None:
        tasks = len(context.tasks)
        own, other = parameters.weights(tasks)
        super().__init__(context, lambda width: CrossStitchUnit(tasks, width, own if tasks > 1 else 1.0, other))
