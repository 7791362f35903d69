"""InvPT's attention across tasks, with memory linear in the number of positions."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtcp.api import BatchNorm2d, Projection, at_size, to_nchw, to_nhwc, unscaled_attention


class CrossTaskAttention(nn.Module):
    """Attention with two heads over the positions of all tasks, which also uses the previous stage's scores.

    Queries: per task a depthwise 3x3 convolution of stride 2 and BatchNorm, then a projection of all tasks' tokens.
    Keys and values: per task average pooling by 2^(stage + 1), then projections. Scores Sc = q k^T / sqrt(D), with D
    the full width. The previous stage's scores, resized from its query positions to the present ones, are appended as
    two more heads, and `fuse`, a 1x1 convolution from four heads to two, gives the scores of this stage.

    No score map is computed. Resizing acts on query positions and the product with keys on channels, so they commute:
    resized(Q K^T) = resized(Q) K^T. The scores of every stage and head are therefore one product of stacked queries and
    keys, Sc_h = sum_j (w_hj q_j) k_j^T + b_h, on which plain attention runs block by block. (b_h is the same for all
    keys, so softmax ignores it; it is kept as a separate factor.)
    """

    @dataclass(frozen=True)
    class Scores:
        """Scores of both heads as factors: queries (B, T, h, w, d) and keys (B, N, d)."""

        queries: tuple[Tensor, Tensor]
        keys: tuple[Tensor, Tensor]

    def __init__(self, tasks: list[str], width: int, stage: int) -> None:
        super().__init__()
        self.tasks, self.width, self.pool = tasks, width, 2 ** (stage + 1)
        for task in tasks:
            self.add_module(task, _QueryConv(width))
        self.query, self.key = Projection(width, width), Projection(width, width)
        self.value, self.out = Projection(width, width), Projection(width, width)
        if stage:
            self.fuse = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor, before: "CrossTaskAttention.Scores | None") -> tuple[Tensor, "Scores"]:
        """Return the attention's result, of the shape of x (B, T, h, w, D), and the scores for the next stage."""
        maps = [to_nchw(level) for level in x.unbind(1)]
        queries = [getattr(self, task)(level) for task, level in zip(self.tasks, maps, strict=True)]
        queries = self.query(torch.stack([to_nhwc(level) for level in queries], 1))
        # Without padding `count_include_pad` changes nothing, but left out, torch's compiler divides the gradient of
        # windows that reach over the edge by their full size.
        pooled = F.avg_pool2d(to_nchw(x.flatten(0, 1)), self.pool, ceil_mode=True, count_include_pad=False)
        tokens = to_nhwc(pooled).reshape(len(x), -1, self.width)
        half = self.width // 2
        own = self.Scores(
            (queries * self.width**-0.5).split(half, -1),
            self.key(tokens).split(half, -1),
        )
        scores = own if before is None else self._fused(own, before)
        values = self.value(tokens).split(half, -1)
        heads = [
            unscaled_attention(query.flatten(1, 3), key, value)
            for query, key, value in zip(scores.queries, scores.keys, values, strict=True)
        ]
        gathered = self.out(torch.cat(heads, -1)).view(queries.shape)
        return _resized(gathered, x.shape[2:4]), scores

    def _fused(self, own: "CrossTaskAttention.Scores", before: "CrossTaskAttention.Scores") -> "Scores":
        size = own.queries[0].shape[2:4]
        earlier = [_resized(query, size) for query in before.queries]
        one_key = before.keys[0] is before.keys[1]
        keys = [*own.keys, *(before.keys[:1] if one_key else before.keys), torch.ones_like(own.keys[0][..., :1])]
        queries = []
        assert self.fuse.bias is not None
        for weights, bias in zip(self.fuse.weight[:, :, 0, 0], self.fuse.bias, strict=True):
            factors = [w * q for w, q in zip(weights, (*own.queries, *earlier), strict=True)]
            if one_key:
                factors[2:] = [factors[2] + factors[3]]
            queries.append(torch.cat([*factors, bias.expand(*factors[0].shape[:-1], 1)], -1))
        joined = torch.cat(keys, -1)
        return self.Scores((queries[0], queries[1]), (joined, joined))


def _resized(x: Tensor, size: torch.Size) -> Tensor:
    """Resize maps (B, T, h, w, C) to `size`."""
    return to_nhwc(at_size(to_nchw(x.flatten(0, 1)), size)).unflatten(0, x.shape[:2])


class _QueryConv(nn.Module):
    """A depthwise 3x3 convolution of stride 2, without bias, and BatchNorm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query_conv = nn.Conv2d(width, width, 3, stride=2, padding=1, groups=width, bias=False)
        self.query_norm = BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.query_norm(self.query_conv(x))
