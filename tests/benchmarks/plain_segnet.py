"""SegNet-MTAN written out stage by stage, the usual way: a yardstick for numbers, time and memory.

It reads the parameters of a network built in `baselines.architectures.segnet_mtan`, for sizes that are multiples of 32.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PlainSegNetMTAN(nn.Module):
    """The same function of an image as `built`, whose parameters it shares."""

    def __init__(self, built: nn.Module) -> None:
        super().__init__()
        self.body, self.between, self.attention, self.heads = built.encoder, built.between, built.attention, built.heads

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        pool = nn.MaxPool2d(2, 2, return_indices=True)
        unpool = nn.MaxUnpool2d(2, 2)
        x = self.body.as_is(image)
        encoded: list[list[Tensor]] = []
        indices: list[Tensor] = []
        for stage in range(5):
            first = self.body.encoder[stage][0](x)
            second = self.body.encoder[stage][1](first)
            x, index = pool(second)
            encoded.append([first, second])
            indices.append(index)
        decoded: list[list[Tensor]] = []
        for stage in reversed(range(5)):
            up = unpool(x, indices[stage])
            x = self.body.decoder[stage][1](self.body.decoder[stage][0](up))
            decoded.append([up, x])
        return {task: self._task(task, encoded, decoded) for task in self.attention}

    def _task(self, task: str, encoded: list[list[Tensor]], decoded: list[list[Tensor]]) -> Tensor:
        own, between = self.attention[task], self.between
        x: Tensor | None = None
        for stage in range(5):
            first, second = encoded[stage]
            joined = first if x is None else torch.cat((first, x), dim=1)
            x = F.max_pool2d(between.down[stage](own.down[stage](joined) * second), 2, 2)
        for place, stage in enumerate(reversed(range(5))):
            up, last = decoded[place]
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = own.up[stage](torch.cat((up, between.up[stage](x)), dim=1)) * last
        raw = self.heads[task].layers(x)
        if task == "semseg":
            return F.log_softmax(raw, dim=1)
        return raw / torch.norm(raw, p=2, dim=1, keepdim=True) if task == "normals" else raw
