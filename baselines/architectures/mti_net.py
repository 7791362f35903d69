"""MTI-Net (Vandenhende et al., ECCV 2020): distillation at every scale, and features propagated to finer scales."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.architectures.pad_net import Branch, Distillation
from mtcp.api import (
    SCALES,
    Basic,
    BuildContext,
    MapArchitecture,
    MapParameters,
    MultiScaleHead,
    Outputs,
    UserError,
    architecture,
    at_size,
    per_task,
)


class Mix(nn.Module):
    """M = conv(block2(block1(C))), with N -> N / 4 -> N channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block1 = Basic(width, width // 4)
        self.block2 = Basic(width // 4, width // 4)
        self.conv = nn.Conv2d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.block2(self.block1(x)))


class Excite(nn.Module):
    """x * sigmoid(fc2(ReLU(fc1(mean of x over positions)))), squeeze factor 16 (Hu et al., CVPR 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        squeezed = max(width // 16, 1)
        self.fc1 = nn.Linear(width, squeezed)
        self.fc2 = nn.Linear(squeezed, width)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3))))))[..., None, None]


class Propagation(nn.Module):
    """P_t = E_t + excite_t(Z), Z = reduce(softmax(M) * C), with C the concatenation of all E_t (N = T c channels).

    As in the public code, the softmax is over every T consecutive channels of the task-major C, so channels of one task
    compete; the paper describes a softmax over tasks, channel by channel.
    """

    def __init__(self, tasks: list[str], width: int) -> None:
        super().__init__()
        self.mix = Mix(len(tasks) * width)
        self.reduce = Basic(len(tasks) * width, width)
        self.excite = nn.ModuleDict({task: Excite(width) for task in tasks})

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        joined = torch.cat(list(maps.values()), 1)
        weights = self.mix(joined).unflatten(1, (-1, len(maps))).softmax(2).flatten(1, 2)
        reduced = self.reduce(weights * joined)
        return {task: own + self.excite[task](reduced) for task, own in maps.items()}


@architecture("mti_net")
class MTINet(MapArchitecture):
    """From coarse to fine, s = 32, 16, 8, 4: E_s = Branch(cat(F_s, P of the coarser scale)), P_s = Propagation(E_s).

    Then E_s is distilled at every scale, and Head_t reads the four distilled maps. Outputs: final and the initial
    predictions of four scales, of equal weight in the public code (`losses.auxiliary_weight: 1`). Shared: the encoder.
    """

    def __init__(self, context: BuildContext, parameters: MapParameters) -> None:
        super().__init__(context, parameters)
        names, widths = [task.name for task in context.tasks], self.widths
        if (least := len(names) * min(widths[1:])) < 4:
            raise UserError(
                f"architecture 'mti_net': {least} channels at one scale, over {len(names)} tasks, which propagation "
                "divides by four: make the widths larger"
            )
        for index, (scale, width) in enumerate(zip(SCALES, widths, strict=True)):
            before = width + (widths[index + 1] if scale < SCALES[-1] else 0)
            initial = per_task(context, f"initial{scale}", lambda task, i=before, c=width: Branch(Basic, i, c, task))
            setattr(self, f"initial{scale}", initial)
            if scale > SCALES[0]:
                with context.part(f"fpm{scale}"):
                    setattr(self, f"fpm{scale}", Propagation(names, width))
            with context.part(f"distillation{scale}"):
                setattr(self, f"distillation{scale}", Distillation(names, width))
        self.head = per_task(context, "multi_scale_head", lambda task: MultiScaleHead(widths, task))

    def decode(self, representation: list[Tensor], size: tuple[int, int]) -> Outputs:
        outputs: Outputs = {task: {} for task in self.head}
        distilled: dict[str, list[Tensor]] = {task: [] for task in self.head}
        propagated: dict[str, Tensor] = {}
        for scale, level in zip(reversed(SCALES), reversed(representation), strict=True):
            features = {}
            for task, initial in getattr(self, f"initial{scale}").items():
                entering = torch.cat((level, at_size(propagated[task], level.shape[-2:])), 1) if propagated else level
                features[task], predicted = initial(entering)
                outputs[task][f"initial{scale}"] = at_size(predicted, size)
            if scale > SCALES[0]:
                propagated = getattr(self, f"fpm{scale}")(features)
            for task, map_ in getattr(self, f"distillation{scale}")(features).items():
                distilled[task].insert(0, map_)
        for task, head in self.head.items():
            outputs[task]["final"] = at_size(head(distilled[task]), size)
        return outputs
