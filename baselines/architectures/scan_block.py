"""The two-dimensional selective scan of VMamba (Liu et al., NeurIPS 2024), on which MTMamba's blocks are based."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.architectures.selective_scan import selective_scan
from mtcp.api import Projection, to_nchw, to_nhwc

#: Row by row, column by column, and both reversed.
DIRECTIONS = 4


class Weights(nn.Module):
    """A weight, and optionally a bias, per direction k; the caller computes y_k = W_k x_k + b_k."""

    def __init__(self, *shape: int, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(DIRECTIONS, *shape))
        if bias:
            self.bias = nn.Parameter(torch.empty(DIRECTIONS, shape[0]))


class Core(nn.Module):
    """LN(sum of four directed scans of SiLU(depthwise conv3x3(project X))); (B, h, w, width) -> (B, h, w, inner).

    Per direction k: (t, b, c) = Wx_k x, R, N and N entries; dt = softplus(Wdt_k t + bdt_k); A = -exp(a_log_k);
    y = scan(x, dt, A, b, c) + d_k x. `gated`: `project` gives (x, z), and the result is out(y * SiLU(z)), as wide as X.
    """

    def __init__(self, width: int, inner: int, states: int, rank: int, *, gated: bool = False) -> None:
        super().__init__()
        self.states, self.rank = states, rank
        self.project = Projection(width, 2 * inner if gated else inner, bias=False)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.x = Weights(rank + 2 * states, inner)
        self.dt = Weights(inner, rank, bias=True)
        self.a_log = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(DIRECTIONS * inner, 1))
        self.d = nn.Parameter(torch.ones(DIRECTIONS * inner))
        self.norm = nn.LayerNorm(inner)
        self.out = Projection(inner, width, bias=False) if gated else None
        nn.init.uniform_(self.x.weight, -(inner**-0.5), inner**-0.5)
        nn.init.uniform_(self.dt.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            steps = torch.empty(DIRECTIONS, inner).uniform_(math.log(0.001), math.log(0.1)).exp()
            self.dt.bias.copy_(steps + torch.log(-torch.expm1(-steps)))  # softplus of it gives the steps

    def forward(self, x: Tensor) -> Tensor:
        x = self.project(x)
        if self.out is None:
            return self._mixed(x)
        x, gate = x.chunk(2, -1)
        return self.out(self._mixed(x) * F.silu(gate))

    def _mixed(self, x: Tensor) -> Tensor:
        return self.norm(self._scanned(F.silu(to_nhwc(self.conv(to_nchw(x))))))

    def _scanned(self, x: Tensor) -> Tensor:
        batch, height, width, inner = x.shape
        length = height * width
        rows = x.reshape(batch, length, inner).transpose(0, 1)
        columns = x.transpose(1, 2).reshape(batch, length, inner).transpose(0, 1)
        # (L, B, directions, I)
        sequences = torch.stack((rows, columns, rows.flip(0), columns.flip(0)), 2)
        steps, b, c = torch.einsum("lbki,kri->lbkr", sequences, self.x.weight).split(
            (self.rank, self.states, self.states), -1
        )
        dt = F.softplus(torch.einsum("lbkr,kir->lbki", steps, self.dt.weight) + self.dt.bias)
        decay = -self.a_log.exp().view(1, DIRECTIONS, inner, -1).expand(batch, -1, -1, -1)
        flat_x, flat_dt = (value.flatten(1, 2).contiguous() for value in (sequences, dt))
        y = selective_scan(flat_x, flat_dt, decay.flatten(0, 1), b.flatten(1, 2), c.flatten(1, 2))
        y = y.view(sequences.shape) + self.d.view(DIRECTIONS, inner) * sequences
        by_row = (y[:, :, 0] + y[:, :, 2].flip(0)).transpose(0, 1).reshape(batch, height, width, inner)
        by_column = (y[:, :, 1] + y[:, :, 3].flip(0)).transpose(0, 1).reshape(batch, width, height, inner)
        return by_row + by_column.transpose(1, 2)


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Set a sample's branch to 0 with probability `rate`, and divide the others by 1 - rate (Huang et al., 2016)."""
    if not training or rate == 0:
        return x
    kept = torch.empty(len(x), 1, 1, 1, device=x.device).bernoulli_(1 - rate)
    return x * (kept / (1 - rate)).to(x.dtype)
