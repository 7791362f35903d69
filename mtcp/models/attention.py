"""The attention of the coherence fusion: all positions, one head, no 1/sqrt(d).

With N positions the map has N^2 entries: 1.4 GiB per image and task at 480x640. Two forms give the same numbers:

- up to `WHOLE_MAP` positions the map is made and kept, three operations for the whole batch;
- above, on every device, blocks of query rows are computed one after the other, and anew in the backward pass from
  the row-wise log-sum-exp: memory grows linearly with N.

Stock fused kernels do not serve here: Q and K are two to four times as wide as V (512 and 256 at three tasks), beyond
the head sizes (256) that flash kernels take. Large plain matrix products keep a GPU's matrix units busy as well. bf16
products are accumulated, and exponentiated, in fp32: logits are not scaled, and bf16 would round those near 100 by 1/4.
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

#: Positions of the largest map that is made and kept whole.
WHOLE_MAP = 1024
#: Entries of one block of the map: near the caches of a CPU, large enough to fill a GPU.
BLOCK_CPU, BLOCK_GPU = 1 << 22, 1 << 23


def coherence_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax over key positions of (Q K^T), applied to V.

    `query` and `key` are (B, N, D), `value` (B, N, C); the result is (B, N, C), in V's type (under autocast in the
    type of autocast).
    """
    device = query.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            return coherence_attention(query.to(dtype), key.to(dtype), value.to(dtype))
    if query.shape[1] > WHOLE_MAP:
        return AttentionInRows.apply(query, key, value)
    weights = (query.float() @ key.float().transpose(1, 2)).softmax(-1)
    return weights.to(value.dtype) @ value


class AttentionInRows(torch.autograd.Function):
    """The attention over blocks of query rows, keeping for each row only l = log sum exp of its logits.

    Backward (Dao et al., NeurIPS 2022, algorithm 4) with P = exp(Q K^T - l), O = P V and the gradient G of O:
    dV = P^T G, dS = P * (G V^T - rowsum(G * O)), dQ = dS K, dK = dS^T Q.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(value)
        log_sums = torch.empty(*query.shape[:2], 1, device=query.device)
        for image, rows in blocks(query):
            logits = product(query[image, rows], key[image])
            torch.logsumexp(logits, -1, keepdim=True, out=log_sums[image, rows])
            weights = logits.sub_(log_sums[image, rows]).exp_().to(value.dtype)
            out[image, rows] = product(weights, value[image].T)
        ctx.save_for_backward(query, key, value, out, log_sums)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, out, log_sums = ctx.saved_tensors
        d_query = torch.empty_like(query)
        d_key, d_value = torch.zeros_like(key, dtype=torch.float32), torch.zeros_like(value, dtype=torch.float32)
        for image, rows in blocks(query):
            own = gradient[image, rows].to(value.dtype)
            weights = product(query[image, rows], key[image]).sub_(log_sums[image, rows]).exp_()
            accumulate(d_value[image], weights.to(own.dtype).T, own)
            d_logits = product(own, value[image])
            d_logits.sub_((own.float() * out[image, rows]).sum(-1, keepdim=True)).mul_(weights)
            d_logits = d_logits.to(query.dtype)
            d_query[image, rows] = product(d_logits, key[image].T).to(query.dtype)
            accumulate(d_key[image], d_logits.T, query[image, rows])
        return d_query, d_key.to(key.dtype), d_value.to(value.dtype)


def blocks(query: Tensor) -> list[tuple[int, slice]]:
    """(image, rows) of every block; whole multiples of 64 rows, as far as the device's block size allows."""
    images, positions = query.shape[:2]
    step = max(1, (BLOCK_CPU if query.is_cpu else BLOCK_GPU) // positions)
    step = step // 64 * 64 or step
    return [(image, slice(row, row + step)) for image in range(images) for row in range(0, positions, step)]


def product(a: Tensor, b: Tensor) -> Tensor:
    """A B^T for A (M, K) and B (N, K), accumulated and returned in fp32."""
    if a.dtype != torch.float32:
        return torch.mm(a, b.T, out_dtype=torch.float32) if a.is_cuda else a.float() @ b.T.float()
    if a.is_cpu and a.is_contiguous() and a.shape[0] % 64 == 0:
        # oneDNN's convolution instead of BLAS, see `mtcp.models.layers.project`.
        tokens = a.view(16, -1, 1, a.shape[1]).permute(0, 3, 1, 2)
        return F.conv2d(tokens, b[:, :, None, None]).permute(0, 2, 3, 1).reshape(a.shape[0], -1)
    return a @ b.T


def accumulate(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += A B in fp32, for A (M, K) and B (K, N)."""
    if a.dtype == torch.float32:
        total.addmm_(a, b)
    else:
        total += product(a, b.T)
