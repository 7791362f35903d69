"""MTMamba (Lin et al., ECCV 2024): a decoder of state space blocks within tasks (STM) and across tasks (CTM)."""

from collections import OrderedDict

import torch
from pydantic import Field
from torch import Tensor, nn

from baselines.architectures.scan_block import Core, drop_path
from mtcp.api import (
    BuildContext,
    MapArchitecture,
    MapParameters,
    Outputs,
    Projection,
    Task,
    architecture,
    at_size,
    per_task,
    prediction,
    to_nchw,
    to_nhwc,
)

#: Stage -> index of its map in the encoder's list.
STAGES = {16: 2, 8: 1, 4: 0}


def shuffled(x: Tensor, factor: int) -> Tensor:
    """(B, h, w, f f c) -> (B, f h, f w, c): channel block f r + q goes to row f i + r, column f j + q."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height, width, factor, factor, channels // factor**2)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, factor * height, factor * width, -1)


class STM(nn.Module):
    """X + out(core(x) * SiLU(z)), with (x, z) the halves of a projection of LN(X)."""

    def __init__(self, width: int, inner: int, states: int, drop: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.scan = Core(width, inner, states, rank=-(-width // 16), gated=True)
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        return x + drop_path(self.scan(self.norm(x)), self.drop, self.training)


class TaskOfCTM(nn.Module):
    """n = LN(X_t); own = core_t(n), g = sigmoid(gate n); X_t + out(g * shared + (1 - g) * own)."""

    def __init__(self, width: int, inner: int, states: int, drop: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.scan = Core(width, inner, states, rank=-(-width // 16))
        self.gate = Projection(width, inner, bias=False)
        self.out = Projection(inner, width, bias=False)
        self.drop = drop

    def forward(self, x: Tensor, shared: Tensor) -> Tensor:
        normed = self.norm(x)
        own = self.scan(normed)
        gate = self.gate(normed).sigmoid().to(own.dtype)  # autocast leaves lerp alone
        mixed = torch.lerp(own, shared, gate)
        return x + drop_path(self.out(mixed), self.drop, self.training)


class CTM(nn.ModuleDict):
    """shared = core(LN(concatenation of all X)), which every task reads through a gate."""

    def __init__(self, tasks: list[str], width: int, inner: int, states: int, drop: float) -> None:
        super().__init__({task: TaskOfCTM(width, inner, states, drop) for task in tasks})
        joint = width * len(tasks)
        self["shared"] = nn.Sequential(
            OrderedDict(norm=nn.LayerNorm(joint), scan=Core(joint, inner, states, rank=-(-width // 16)))
        )

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        shared = self["shared"](torch.cat(list(maps.values()), -1))
        return {task: self[task](x, shared) for task, x in maps.items()}


class TaskOfStage(nn.Module):
    """U = LN(shuffle(expand X)), cropped to F_s; block2(block1(merge(cat(U, F_s))))."""

    def __init__(self, before: int, width: int, inner: int, states: int, drops: list[float]) -> None:
        super().__init__()
        self.expand = Projection(before, 4 * width, bias=False)
        self.expand_norm = nn.LayerNorm(width)
        self.merge = Projection(2 * width, width)
        self.block1, self.block2 = (STM(width, inner, states, drop) for drop in drops)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        height, width = level.shape[1:3]
        finer = self.expand_norm(shuffled(self.expand(x), 2)[:, :height, :width])
        return self.block2(self.block1(self.merge(torch.cat((finer, level), -1))))


class Head(nn.Module):
    """predict(LN(shuffle by 4 (expand X))): a prediction of four times the size of F4."""

    def __init__(self, width: int, task: Task) -> None:
        super().__init__()
        self.expand = Projection(width, 16 * width, bias=False)
        self.expand_norm = nn.LayerNorm(width)
        self.predict = prediction(width, task)

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(to_nchw(self.expand_norm(shuffled(self.expand(x), 4))))


@architecture("mtmamba")
class MTMamba(MapArchitecture):
    """X_t = F32; stages s = 16, 8, 4: per task expansion, merging with F_s and two STM blocks, then one CTM block.

    Shared: the encoder. The public code minimises the sum of the losses' logarithms (the scheme
    `scale_invariant`). The scan is slow on a CPU.
    """

    class Parameters(MapParameters):
        states: int = Field(16, ge=1, le=64, description="N, states per inner channel")
        expansion: int = Field(2, ge=1, le=4, description="inner width I as a multiple of a stage's width")
        drop_path: float = Field(0.2, ge=0, lt=1, description="drop path of the first block, falling linearly to 0")

    def __init__(self, context: BuildContext, parameters: "MTMamba.Parameters") -> None:
        super().__init__(context, parameters)
        names, widths, states = [task.name for task in context.tasks], self.widths, parameters.states
        blocks = 3 * len(STAGES)
        rates = [parameters.drop_path * (1 - block / (blocks - 1)) for block in range(blocks)]
        for scale, index in STAGES.items():
            width, before = widths[index], widths[index + 1]
            inner = parameters.expansion * width
            drops, rates = rates[:3], rates[3:]
            stage = per_task(
                context,
                f"stage{scale}",
                lambda task, b=before, w=width, i=inner, d=drops: TaskOfStage(b, w, i, states, d[:2]),
            )
            with context.part(f"stage{scale}.cross"):
                stage["cross"] = CTM(names, width, inner, states, drops[2])
            setattr(self, f"stage{scale}", stage)
        self.head = per_task(context, "shuffled_head", lambda task: Head(widths[0], task))

    def decode(self, representation: list[Tensor], size: tuple[int, int]) -> Outputs:
        levels = [to_nhwc(level) for level in representation]
        maps = dict.fromkeys(self.head, levels[-1])
        for scale, index in STAGES.items():
            stage = getattr(self, f"stage{scale}")
            maps = stage["cross"]({task: stage[task](x, levels[index]) for task, x in maps.items()})
        return {task: {"final": at_size(head(maps[task]), size)} for task, head in self.head.items()}
