"""PAD-Net (Xu et al., CVPR 2018): initial predictions, and distillation of their features between tasks."""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.api import (
    Architecture,
    Basic,
    Bottle,
    BuildContext,
    ConvNorm,
    MapEncoder,
    MapParameters,
    Outputs,
    Task,
    architecture,
    at_size,
    gathered,
    per_task,
    prediction,
)


class Message(nn.Module):
    """sigmoid(gate x) * (value x), 3x3 convolutions without bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.value = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.gate(x)) * self.value(x)


class Distillation(nn.ModuleDict):
    """G_t = E_t + sum over u != t of sigmoid(gate_{t,u} E_u) * (value_{t,u} E_u).

    Gate and value both read the source u, as in the public code; in the paper, from memory, the gate reads the target.
    """

    def __init__(self, tasks: list[str], width: int) -> None:
        super().__init__()
        for target in tasks:
            self[target] = nn.ModuleDict({source: Message(width) for source in tasks if source != target})

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        distilled = {}
        for target, own in maps.items():
            distilled[target] = own
            messages = self[target]
            assert isinstance(messages, nn.ModuleDict)
            for source, message in messages.items():
                distilled[target] = distilled[target] + message(maps[source])
        return distilled


class Branch(nn.Module):
    """block2(block1(x)), two residual blocks, and `predict`, a 1x1 convolution to the task's channels."""

    def __init__(self, block: type[Basic] | type[Bottle], before: int, width: int, task: Task) -> None:
        super().__init__()
        self.block1 = block(before, width)
        self.block2 = block(width, width)
        self.predict = prediction(width, task)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.block2(self.block1(x))
        return features, self.predict(features)


class FusedMaps(nn.Module):
    """R = ReLU(norm(conv1x1(cat of the four maps at 1/4))), S wide."""

    def __init__(self, context: BuildContext, widths: tuple[int, ...] | None) -> None:
        super().__init__()
        self.maps = MapEncoder(context, widths)
        self.width = sum(self.maps.widths)
        with context.part("fuse"):
            self.fuse = ConvNorm(self.width, self.width, bias=True)

    def forward(self, image: Tensor) -> Tensor:
        return F.relu_(self.fuse(gathered(self.maps(image))))


@architecture("pad_net")
class PADNet(Architecture):
    """E_t = initial branch of R, G = distillation of E, final_t = head branch of G_t, all at 1/4.

    Shared: encoder and fusion. Initial and final predictions have equal weight in the public code
    (`losses.auxiliary_weight: 1`).
    """

    coarsest = 32

    class Parameters(MapParameters):
        width: int = Field(256, ge=4, le=1024, multiple_of=4, description="D, the width of the tasks' features")

    def __init__(self, context: BuildContext, parameters: "PADNet.Parameters") -> None:
        super().__init__()
        encoder, width = FusedMaps(context, parameters.widths), parameters.width
        self.encoder = encoder
        self.initial = per_task(context, "initial", lambda task: Branch(Bottle, encoder.width, width, task))
        with context.part("distillation"):
            self.distillation = Distillation([task.name for task in context.tasks], width)
        self.head = per_task(context, "branch_head", lambda task: Branch(Bottle, width, width, task))

    def encode(self, image: Tensor) -> Tensor:
        return self.encoded(image)

    def decode(self, representation: Tensor, size: tuple[int, int]) -> Outputs:
        initial = {task: branch(representation) for task, branch in self.initial.items()}
        distilled = self.distillation({task: features for task, (features, _) in initial.items()})
        return {
            task: {
                "initial": at_size(predicted, size),
                "final": at_size(self.head[task](distilled[task])[1], size),
            }
            for task, (_, predicted) in initial.items()
        }
