"""ATRC (Brueggemann et al., ICCV 2021) with global context for every pair of tasks.

Only the part of ATRC that needs neither architecture search nor CUDA kernels: local and label contexts are left out.
"""

from collections import OrderedDict

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.api import (
    BuildContext,
    ConvNorm,
    ConvPair,
    MapArchitecture,
    MapParameters,
    Outputs,
    Task,
    UserError,
    architecture,
    at_size,
    gathered,
    per_task,
    prediction,
)


class GlobalContext(nn.Module):
    """The context that a target task gathers from a source task over all positions p', by linear attention.

    q = softplus(pair(Q_target)), k = softplus(pair(Q_source)), v = ReLU(BN(conv Q_source));
    V[m, p] = sum_d (sum_p' v[m, p'] k[d, p']) q[d, p] / max(sum_d (sum_p' k[d, p']) q[d, p], 1e-12).
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.query = ConvPair(width, inner, inner, 1)
        self.key = ConvPair(width, inner, inner, 1)
        self.value = ConvNorm(width, inner)
        for conv in (module for module in self.modules() if isinstance(module, nn.Conv2d)):
            nn.init.xavier_uniform_(conv.weight)

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        query = F.softplus(self.query(target)).flatten(2)
        key = F.softplus(self.key(source)).flatten(2)
        value = F.relu(self.value(source)).flatten(2)
        total = (key.sum(2, keepdim=True) * query).sum(1, keepdim=True).clamp(min=1e-12)
        return ((value @ key.transpose(1, 2) @ query) / total).unflatten(2, target.shape[-2:])


@architecture("atrc")
class ATRC(MapArchitecture):
    """X = cat of the four maps at 1/4, S wide; Q_t = ReLU(BN(conv3x3 X)), S / 4 wide.

    Y_t = BN(conv1x1(cat over all sources u, including t, of the context of u for t)), where the BatchNorm's weight and
    bias start at 0; final_t = predict(dropout(ReLU(BN(conv1x1(cat(Q_t, Y_t)))))). Shared: the encoder.
    """

    class Parameters(MapParameters):
        dropout: float = Field(0.05, ge=0, lt=1, description="share of channels dropped before the prediction")

    def __init__(self, context: BuildContext, parameters: "ATRC.Parameters") -> None:
        super().__init__(context, parameters)
        total = sum(self.widths)
        if total < 8:
            raise UserError(f"architecture 'atrc': the sum of the widths is {total}, and it must be at least 8")
        width, inner = total // 4, total // 8
        self.dropout = parameters.dropout

        def contexts(target: Task) -> nn.Module:
            return nn.ModuleDict({source.name: GlobalContext(width, inner) for source in context.tasks})

        def head(task: Task) -> nn.Module:
            predict = prediction(width, task)
            nn.init.normal_(predict.weight, std=0.01)
            if predict.bias is not None:
                nn.init.constant_(predict.bias, task.bias_initialisation or 0.0)
            return nn.Sequential(OrderedDict(predict=predict))

        self.reduce = per_task(context, "reduce", lambda task: ConvNorm(total, width, 3))
        self.context = per_task(context, "context", contexts)
        self.out = per_task(context, "out", lambda task: ConvNorm(inner * len(context.tasks), width))
        self.fuse = per_task(context, "fuse", lambda task: ConvNorm(2 * width, width))
        self.head = per_task(context, "head", head)
        for out in self.out.values():
            assert isinstance(out, ConvNorm)
            nn.init.zeros_(out.norm.weight)
            nn.init.zeros_(out.norm.bias)

    def decode(self, representation: list[Tensor], size: tuple[int, int]) -> Outputs:
        joined = gathered(representation)
        features = {task: F.relu_(reduce(joined)) for task, reduce in self.reduce.items()}
        return {task: {"final": at_size(self._final(task, features), size)} for task in features}

    def _final(self, task: str, features: dict[str, Tensor]) -> Tensor:
        contexts = self.context[task]
        assert isinstance(contexts, nn.ModuleDict)
        gathered_by = [context(features[task], features[source]) for source, context in contexts.items()]
        own = torch.cat((features[task], self.out[task](torch.cat(gathered_by, 1))), 1)
        fused = F.dropout2d(F.relu_(self.fuse[task](own)), self.dropout, self.training)
        return self.head[task](fused)
