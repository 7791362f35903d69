"""A stage of InvPT's decoder: one transformer block over the positions of all tasks."""

from collections import OrderedDict

from torch import Tensor, nn

from baselines.architectures.invpt_attention import CrossTaskAttention
from mtcp.api import MLP, ConvPair, to_nchw


def named_conv(before: int, after: int) -> nn.Sequential:
    """Return a 1x1 convolution whose parameters are named `conv.*`."""
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(before, after, 1)))


class Stage(nn.Module):
    """One transformer block over the positions of all tasks; x is (B, T, h, w, D).

    From the second stage on, maps are first brought up from the coarser stage, and results are widened to the first
    stage's width.
    """

    def __init__(self, tasks: list[str], width: int, before: int | None, out: int, stage: int) -> None:
        super().__init__()
        if before is not None:
            self.up = nn.ModuleDict({task: ConvPair(before, width, width, dilation=2) for task in tasks})
            self.expand = nn.ModuleDict({task: named_conv(width, out) for task in tasks})
        self.norm1 = nn.LayerNorm(width)
        self.attention = CrossTaskAttention(tasks, width, stage)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width)
        self.out_norm = nn.LayerNorm(width * len(tasks))

    def forward(
        self, x: Tensor, scores: CrossTaskAttention.Scores | None
    ) -> tuple[Tensor, list[Tensor], CrossTaskAttention.Scores]:
        """Return X (B, T, h, w, D), the maps for the sum over stages (one (B, out, h, w) per task), and the scores."""
        attended, own_scores = self.attention(self.norm1(x), scores)
        x = x + attended
        x = x + self.mlp(self.norm2(x))
        normed = self.out_norm(x.permute(0, 2, 3, 1, 4).flatten(3)).unflatten(3, x.shape[1::3])
        maps = [to_nchw(level) for level in normed.unbind(3)]
        if hasattr(self, "expand"):
            maps = [expand(level) for expand, level in zip(self.expand.values(), maps, strict=True)]
        return x, maps, own_scores
