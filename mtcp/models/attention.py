"""Global attention without 1/sqrt(d), for Q, K and V of any width: used in coherence fusion and across tasks in InvPT.

With N positions the attention map has N^2 entries: 1.4 GiB per image and task at 480x640. Two forms give the same
values:

- up to `WHOLE_MAP` positions, the map is computed and stored, in three operations for the whole batch;
- above, blocks of query rows are computed one after the other. On a CPU the map is kept for the backward pass up to
  `KEPT_CPU` entries; where it is larger, and on a GPU, its blocks are computed again: memory grows linearly with N.

Fused kernels cannot be used: Q and K are two to four times as wide as V (512 and 256 at three tasks), wider than the
head size (256) that flash kernels support. Large plain matrix products keep a GPU's matrix units just as busy. bf16
products are accumulated and exponentiated in fp32: logits are not scaled, and in bf16 the rounding error near 100 is
up to 1/4.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mtcp.models.precision import at_least_fp32, wide

#: Positions of the largest attention map that is stored whole.
WHOLE_MAP = 1024
#: Entries of one block of the map: about the size of a CPU's caches, and large enough to fill a GPU.
BLOCK_CPU, BLOCK_GPU = 1 << 22, 1 << 23
#: Entries of the largest map, of all images of a call, that a CPU keeps for the backward pass: 128 MiB in fp32.
KEPT_CPU = 1 << 25


def unscaled_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax over key positions of (Q K^T), applied to V.

    `query` is (B, M, D), `key` (B, N, D), `value` (B, N, C); the result is (B, M, C), in V's dtype (under autocast, in
    autocast's dtype).
    """
    device = query.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            return unscaled_attention(query.to(dtype), key.to(dtype), value.to(dtype))
    if query.shape[1] * key.shape[1] > WHOLE_MAP**2:
        if not torch.is_grad_enabled():  # nothing to save, and exporters cannot handle custom functions
            return in_rows(query, key, value)
        return AttentionInRows.apply(query, key, value)
    weights = (at_least_fp32(query) @ at_least_fp32(key).transpose(1, 2)).softmax(-1)
    return weights.to(value.dtype) @ value


class AttentionInRows(torch.autograd.Function):
    """Attention over blocks of query rows, which saves Q, K, V and, on a CPU, small maps for the backward pass.

    Backward, with P = softmax(Q K^T) kept or recomputed and the gradient G of O = P V: dV = P^T G,
    dS = P * (G V^T - rowsum(P * G V^T)), dQ = dS K, dK = dS^T Q.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keeps = query.is_cpu and query[..., 0].numel() * key.shape[1] <= KEPT_CPU
        kept: list[Tensor] = []
        out = in_rows(query, key, value, kept if keeps else None)
        ctx.save_for_backward(query, key, value, *kept)
        return out

    # torch declares ctx positional-only in the result of `once_differentiable`.
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        query, key, value, *kept = ctx.saved_tensors
        d_query = torch.empty_like(query)
        d_key, d_value = torch.zeros_like(key, dtype=wide(key.dtype)), torch.zeros_like(value, dtype=wide(value.dtype))
        for number, (image, rows) in enumerate(blocks(query, key.shape[1])):
            q, k = query[image, rows], key[image]
            weights = kept[number] if kept else attention_weights(q, k)
            d_query[image, rows] = gradients(
                weights, q, k, value[image], gradient[image, rows], d_key[image], d_value[image]
            )
        return d_query, d_key.to(key.dtype), d_value.to(value.dtype)


def in_rows(query: Tensor, key: Tensor, value: Tensor, kept: list[Tensor] | None = None) -> Tensor:
    """Attention, one block of query rows at a time; appends the blocks of the map to `kept`."""
    out = value.new_empty(*query.shape[:2], value.shape[2])
    for image, rows in blocks(query, key.shape[1]):
        weights = attention_weights(query[image, rows], key[image])
        out[image, rows] = product(weights.to(value.dtype), value[image].T)
        if kept is not None:
            kept.append(weights)
    return out


def attention_weights(query: Tensor, key: Tensor) -> Tensor:
    """The rows (M, N) of the map of one block of queries (M, D), over all keys (N, D), in at least fp32."""
    # In one pass. On a CPU a plain `exp` takes twenty times as long for results that underflow, and most do.
    return product(query, key).softmax(-1)


def gradients(
    weights: Tensor, query: Tensor, key: Tensor, value: Tensor, gradient: Tensor, d_key: Tensor, d_value: Tensor
) -> Tensor:
    """Return dQ of one block, given its map and the gradient of its O, and add its contributions to dK and dV."""
    gradient = gradient.to(value.dtype)
    accumulate(d_value, weights.to(value.dtype), gradient)
    d_logits = torch.ops.aten._softmax_backward_data(product(gradient, value), weights, -1, weights.dtype)
    d_logits = d_logits.to(query.dtype)
    accumulate(d_key, d_logits, query)
    return product(d_logits, key.T)


def blocks(query: Tensor, keys: int) -> list[tuple[int, slice]]:
    """(image, rows) of every block: equal multiples of 64 rows (fewer in the last), within the device's block size."""
    images, positions = query.shape[:2]
    most = max(1, (BLOCK_CPU if query.is_cpu else BLOCK_GPU) // (64 * keys)) * 64
    count = -(-positions // most)
    step = -(-positions // (64 * count)) * 64
    return [(image, slice(row, row + step)) for image in range(images) for row in range(0, positions, step)]


def product(a: Tensor, b: Tensor) -> Tensor:
    """A B^T for A (M, K) and B (N, K), accumulated and returned in at least fp32."""
    if a.dtype != wide(a.dtype):
        return torch.mm(a, b.T, out_dtype=torch.float32) if a.is_cuda else at_least_fp32(a) @ at_least_fp32(b).T
    if a.is_cpu and a.shape[0] % 64 == 0:
        return F.conv2d(pixels(a), b[:, :, None, None]).permute(0, 2, 3, 1).reshape(a.shape[0], -1)
    return a @ b.T


def accumulate(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += A^T B in at least fp32, for A (K, M) and B (K, N)."""
    if a.dtype != wide(a.dtype):
        total += product(a.T, b.T)
    else:  # a convolution's gradient would be faster on some processors, but four times slower on others
        total.addmm_(a.T, b)


def pixels(a: Tensor) -> Tensor:
    """View (M, K), M a multiple of 64, as an image of M pixels and K channels: oneDNN's convolution replaces BLAS.

    The reason is given in `mtcp.models.layers.project`.
    """
    return a.reshape(16, -1, 1, a.shape[1]).permute(0, 3, 1, 2)
