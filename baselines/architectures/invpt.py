"""InvPT (Ye and Xu, ECCV 2022): a decoder with three stages, in which every task attends to all tasks' positions."""

from collections import OrderedDict

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.architectures.invpt_stage import Stage, named_conv
from mtcp.api import (
    Architecture,
    BuildContext,
    ConvNorm,
    ConvPair,
    MapEncoder,
    MapParameters,
    Outputs,
    Projection,
    Task,
    architecture,
    at_size,
    per_task,
    prediction,
    separate,
    to_nchw,
    to_nhwc,
)


class CoarseAndSkips(nn.Module):
    """image -> [F32, J1, J2], with 3x3 convolutions J1 = skip16(F16), J2 = skip8(F8)."""

    def __init__(self, context: BuildContext, widths: tuple[int, ...] | None, first: int, second: int) -> None:
        super().__init__()
        self.maps = MapEncoder(context, widths)
        _, width8, width16, self.width = self.maps.widths
        with context.part("skips"):
            self.skip16 = nn.Conv2d(width16, first, 3, padding=1)
            self.skip8 = nn.Conv2d(width8, second, 3, padding=1)

    def forward(self, image: Tensor) -> list[Tensor]:
        _, map8, map16, map32 = self.maps(image)
        return separate([map32, self.skip16(map16), self.skip8(map8)])


class Initial(ConvPair):
    """E = ReLU(pair(F32)), and a prediction from it."""

    def __init__(self, before: int, width: int, task: Task) -> None:
        super().__init__(before, before, width)
        self.predict = prediction(width, task)

    def features_and_prediction(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return E and the prediction from it."""
        features = F.relu_(self(x))
        return features, self.predict(features)


@architecture("invpt")
class InvPT(Architecture):
    """Initial predictions from F32, then stages i = 0, 1, 2 at 1/32, 1/16, 1/8; widths D0 = E + P, D0 / 2, D0 / 4.

    X_t = mix(cat(E_t, initial_t)); between stages, X_t is up-sampled and the encoder's skip J_i added. M_t is the sum
    of all stages' results at 1/4; final_t = predict(ReLU(BN(conv3x3 M_t))). Shared: encoder and skips. The public code
    gives initial and final predictions equal weight (`losses.auxiliary_weight: 1`), and its encoder is a plain ViT.
    """

    coarsest = 64

    class Parameters(MapParameters):
        embedding: int = Field(512, ge=4, le=2048, description="E, the width of the initial features")
        extra: int = Field(64, ge=0, le=512, description="P; E + P must be a multiple of 8")

        @model_validator(mode="after")
        def _heads_are_halves(self) -> "InvPT.Parameters":
            if (self.embedding + self.extra) % 8:
                raise ValueError(f"embedding + extra is {self.embedding + self.extra} and must be a multiple of 8")
            return self

    def __init__(self, context: BuildContext, parameters: "InvPT.Parameters") -> None:
        super().__init__()
        width, names = parameters.embedding + parameters.extra, [task.name for task in context.tasks]
        dims = _dims(width)
        encoder, embedding = CoarseAndSkips(context, parameters.widths, dims[1], dims[2]), parameters.embedding
        self.encoder = encoder
        self.initial = per_task(context, "initial", lambda task: Initial(encoder.width, embedding, task))
        self.mix = per_task(context, "mix", lambda task: named_conv(embedding + task.channels, width))
        for index, (dim, before) in enumerate(zip(dims, (None, *dims), strict=False)):
            with context.part(f"stage{index}"):
                setattr(self, f"stage{index}", Stage(names, dim, before, width, index))
        self.project = per_task(context, "project", lambda task: ConvNorm(width, width, 3, bias=True))
        self.head = per_task(context, "head", lambda task: nn.Sequential(OrderedDict(predict=prediction(width, task))))
        with context.part("linear layers"):
            _truncated_normal(self, encoder)

    def encode(self, image: Tensor) -> list[Tensor]:
        return self.encoded(image)

    def decode(self, representation: list[Tensor], size: tuple[int, int]) -> Outputs:
        coarse, *skips = representation
        finest = tuple(-(-side // 4) for side in size)
        outputs: Outputs = {}
        maps = []
        for task, initial in self.initial.items():
            assert isinstance(initial, Initial)
            features, predicted = initial.features_and_prediction(coarse)
            outputs[task] = {"initial": at_size(predicted, size)}
            maps.append(self.mix[task](torch.cat((features, predicted), 1)))
        sums, scores = [], None
        for index, skip in enumerate([None, *skips]):
            stage = getattr(self, f"stage{index}")
            if skip is not None:
                ups = [at_size(level, skip.shape[-2:]) for level in maps]
                maps = [F.relu_(up(level)) + skip for up, level in zip(stage.up.values(), ups, strict=True)]
            x, results, scores = stage(torch.stack([to_nhwc(level) for level in maps], 1), scores)
            maps = [to_nchw(level) for level in x.unbind(1)]
            results = [at_size(level, finest) for level in results]
            sums = [a + b for a, b in zip(sums, results, strict=True)] if sums else results
        for task, total in zip(outputs, sums, strict=True):
            final = self.head[task](F.relu_(self.project[task](total)))
            outputs[task]["final"] = at_size(final, size)
        return outputs


def _dims(width: int) -> tuple[int, int, int]:
    return width, width // 2, width // 4


def _truncated_normal(network: InvPT, encoder: nn.Module) -> None:
    """Initialise linear layers and `project` from a truncated normal (std 0.02), and linear layers' biases with 0.

    The encoder is left out: Mask2Former also has linear layers, which may be pre-trained.
    """
    encoders = set(encoder.modules())
    for module in network.modules():
        if isinstance(module, Projection) and module not in encoders:
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    for project in network.project.values():
        assert isinstance(project, ConvNorm)
        nn.init.trunc_normal_(project.conv.weight, std=0.02)
