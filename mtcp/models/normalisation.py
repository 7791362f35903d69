"""Batch normalisation whose statistics stay precise for channels-last tensors on a CPU.

In that case torch 2.15 sums all values of a channel in one float32 accumulator, so the error grows with their number:
it reaches 1e-5 of the variance and more for two images at 120x160. Contiguous tensors, and GPUs, use a tree sum.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mtcp.models.layers import to_nchw, to_nhwc

#: Up to this many values per channel, torch's sums are precise to a few 1e-6.
FEW_VALUES = 2048
#: Allowed numbers of values per float32 accumulator, for channels with more values.
GROUP = range(32, 513)


class _PreciseBatchNorm(torch.autograd.Function):
    """(x, weight, bias, eps, groups) -> (normalised, mean, biased variance), x (B, C, H, W) in channels-last memory.

    The positions of each channel are split into `groups` groups, which torch's kernels see as separate channels; the
    groups' sums are merged in float64 (Chan, Golub and LeVeque, 1979).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, groups: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        means, variances = torch.batch_norm_update_stats(_grouped(x, groups), None, None, 0.0)
        means = means.view(groups, -1).double()
        mean = means.mean(0)
        variance = variances.view(groups, -1).double().mean(0) + (means - mean).square().mean(0)
        inverse = torch.rsqrt(variance + eps)
        mean, variance = mean.to(x.dtype), variance.to(x.dtype)
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.groups = groups
        ctx.mark_non_differentiable(mean, variance)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps), mean, variance

    # torch declares ctx positional-only in the result of `once_differentiable`.
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """With z = (x - mean) r and r = 1/std: dx = w r (g - mean(g) - z mean(g z)), dw = sum g z, db = sum g."""
        x, weight, mean, inverse = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        tiled = mean.repeat(ctx.groups)
        _, products, totals = torch.ops.aten.native_batch_norm_backward(
            _grouped(grad, ctx.groups), _grouped(x, ctx.groups), torch.ones_like(tiled), None, None, tiled,
            torch.ones_like(tiled), True, 0.0, [False, True, True],
        )  # fmt: skip
        product, total = (sums.view(ctx.groups, -1).double().sum(0) for sums in (products, totals))
        count = x.numel() // x.shape[1]
        scale = weight * inverse
        slope = -scale * inverse.square() * product / count
        shift = -scale * total / count - slope * mean
        scale, slope, shift = (value.to(x.dtype)[:, None, None] for value in (scale, slope, shift))
        result = torch.addcmul(shift, grad, scale).addcmul_(x, slope)
        return result, (product * inverse).to(weight.dtype), total.to(weight.dtype), None, None


def _grouped(x: Tensor, groups: int) -> Tensor:
    """View (B, C, H, W) in channels-last memory as (1, groups C, B H W / groups, 1)."""
    rows = to_nhwc(x).reshape(1, -1, 1, groups * x.shape[1])
    return to_nchw(rows)


def _groups(x: Tensor) -> int:
    """Return the number of groups for `x`: 1 where torch's sums are precise, 0 where no allowed size divides `x`."""
    values = x.numel() // x.shape[1]
    imprecise = (
        x.is_cpu
        and x.dtype == torch.float32
        and values > FEW_VALUES
        and not x.is_contiguous()
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
    )
    return next((values // size for size in reversed(GROUP) if values % size == 0), 0) if imprecise else 1


class BatchNorm2d(nn.BatchNorm2d):
    """torch's layer with precise statistics, on (B, C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.momentum is None or self.running_mean is None or self.running_var is None:
            return super().forward(input)
        groups = _groups(input)
        if groups == 1:
            return super().forward(input)
        if groups == 0:
            return super().forward(input.contiguous())
        out, mean, variance = _PreciseBatchNorm.apply(input, self.weight, self.bias, self.eps, groups)
        with torch.no_grad():
            values = input.numel() // input.shape[1]
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (values / (values - 1)), self.momentum)
        return out


class BatchNorm(BatchNorm2d):
    """Batch normalisation of (B, H, W, C)."""

    def forward(self, input: Tensor) -> Tensor:
        return to_nhwc(super().forward(to_nchw(input)))
