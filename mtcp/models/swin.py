"""Shifted-window transformer stages (Liu et al., ICCV 2021) for maps of any size.

Maps whose sides are not multiples of the window are padded with zeros at the right and bottom after the first norm, and
shifted after padding. Padded tokens serve as keys like all others, and the window never shrinks. The blocks of
libraries shift before they pad, or shrink the window, which gives different values.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mtcp.models.layers import MLP, Projection, project
from mtcp.models.precision import wide

WINDOW = 7
#: On a CPU, a block whose map has at least this many values stores only its input and is recomputed in the backward
#: pass. On a GPU, which has more memory, `training.checkpointing` decides in the MT-CP network.
LARGE = 1 << 19


def to_windows(x: Tensor) -> Tensor:
    """(B, H, W, C), H and W multiples of the window -> (B * windows, 49, C)."""
    batch, height, width, channels = x.shape
    x = x.view(batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels)
    return x.transpose(2, 3).reshape(-1, WINDOW * WINDOW, channels)


def from_windows(x: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `to_windows`."""
    channels = x.shape[-1]
    x = x.view(-1, height // WINDOW, width // WINDOW, WINDOW, WINDOW, channels)
    return x.transpose(2, 3).reshape(-1, height, width, channels)


@lru_cache(maxsize=64)
def shift_mask(height: int, width: int, shift: int, device: torch.device) -> Tensor:
    """Additive mask (windows, 1, 49, 49) of a shifted map: -100 between tokens that were not neighbours before."""
    with torch.inference_mode(False):
        rows, columns = (
            torch.bucketize(
                torch.arange(size, device=device),
                torch.tensor([size - WINDOW, size - shift], device=device),
                right=True,
            )
            for size in (height, width)
        )
        region = to_windows((3 * rows[:, None] + columns)[None, :, :, None]).squeeze(-1)
        return (region[:, None, :, None] != region[:, None, None, :]) * -100.0


def relative_position_index() -> Tensor:
    """(49 * 49,) index into a table of the (2 * 7 - 1)^2 relative positions of two tokens in a window."""
    position = torch.stack(torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")).flatten(1)
    offset = position[:, :, None] - position[:, None, :] + WINDOW - 1
    return (offset[0] * (2 * WINDOW - 1) + offset[1]).flatten()


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(d) + B) V on (windows, heads, 49, d), with the bias B broadcast over windows.

    On a GPU, torch has a fused kernel. On a CPU, because the bias needs a gradient, torch would fall back to a form
    with many more passes than this one.
    """
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # Q is smaller than the logits
    return (logits + bias).softmax(-1, dtype=wide(value.dtype)).to(value.dtype) @ value


class WindowAttention(nn.Module):
    """softmax(Q K^T / sqrt(d) + B) V inside windows of 7 x 7 tokens; (B, H, W, C) -> (B, H, W, C)."""

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.qkv = Projection(width, 3 * width)
        self.proj = Projection(width, width)
        self.register_buffer("relative_position_index", relative_position_index(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        padded = (height + -height % WINDOW, width + -width % WINDOW)
        # Padded tokens are zero before the projection, so they equal its bias after it: the bias is added to the padded
        # map, and the projection runs on real tokens only.
        qkv = F.pad(project(x, self.qkv.weight), (0, 0, 0, padded[1] - width, 0, padded[0] - height))
        if self.shift:
            qkv = qkv.roll((-self.shift, -self.shift), (1, 2))
        qkv = to_windows(qkv) + self.qkv.bias.to(qkv.dtype)
        query, key, value = qkv.view(-1, WINDOW**2, 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index].view(1, WINDOW**2, WINDOW**2, -1)
        bias = bias.permute(0, 3, 1, 2)
        if self.shift:
            bias = (bias + shift_mask(*padded, self.shift, x.device)).repeat(batch, 1, 1, 1)
        mixed = attend(query, key, value, bias.to(query.dtype))
        mixed = from_windows(mixed.transpose(1, 2).flatten(2), *padded)
        if self.shift:
            mixed = mixed.roll((self.shift, self.shift), (1, 2))
        return self.proj(mixed[:, :height, :width])


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)); (B, H, W, C)."""

    def __init__(self, width: int, heads: int, shift: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, shift)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width)

    def forward(self, x: Tensor) -> Tensor:
        if x.numel() < LARGE or not (self.training and x.is_cpu):
            return self._compute(x)
        return checkpoint(self._compute, x, use_reentrant=False, preserve_rng_state=False)

    def _compute(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    """Halve the resolution, double the width; odd sizes are padded with zeros. (B, H, W, C) -> (B, H/2, W/2, 2C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = Projection(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        if height % 2 or width % 2:
            x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        corners = (x[:, row::2, column::2] for column in (0, 1) for row in (0, 1))
        return self.reduction(self.norm(torch.cat(tuple(corners), -1)))


class Stage(nn.Module):
    """`depth` blocks, every second one shifted by half a window, then patch merging except in the last stage."""

    def __init__(self, width: int, depth: int, heads: int, last: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(Block(width, heads, shift=WINDOW // 2 if index % 2 else 0) for index in range(depth))
        )
        self.downsample = None if last else PatchMerging(width)
