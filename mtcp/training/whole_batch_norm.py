"""Batch normalisation over the images of all processes: `training.sync_batch_norm`.

torch's SyncBatchNorm runs only on GPUs and takes only (B, C, H, W). This module computes the same, from differentiable
means, on any device and for every kind of batch normalisation layer in this project's networks.
"""

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mtcp.core.errors import UserError
from mtcp.models.layers import to_nchw, to_nhwc
from mtcp.models.normalisation import BatchNorm, BatchNorm2d
from mtcp.models.precision import at_least_fp32
from mtcp.models.timm_layers import _BatchNormAct
from mtcp.training.group import Group

#: Layers that can be replaced: batch normalisation, also on (B, H, W, C) or followed by drop-out and activation.
_KNOWN: Final = (nn.BatchNorm2d, BatchNorm2d, BatchNorm, _BatchNormAct)


class _WholeMean(torch.autograd.Function):
    """(mean m_r of this process r, group) -> m, the mean of m_r over the processes.

    Every process's loss l_q depends on every m_r through m. The processes' gradients are averaged later, so the
    backward pass returns the mean of dl_q/dm over the processes q.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return group.mean(own)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.group.mean(grads[0]), None


class WholeBatchNorm(nn.BatchNorm2d):
    """Replaces a batch normalisation layer: the same parameters and buffers, with the statistics of all processes.

    y = w (x - m) / sqrt(v + eps) + b, with m and v the mean and the biased variance over the images of all processes;
    running statistics use the unbiased variance, as in a single process.
    """

    def __init__(self, layer: _BatchNorm, group: Group) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum)
        self.weight, self.bias = layer.weight, layer.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(layer, name))
        self.group, self.last = group, isinstance(layer, BatchNorm)
        if isinstance(layer, _BatchNormAct):
            self.drop, self.act = layer.drop, layer.act
        self.train(layer.training)

    def forward(self, input: Tensor) -> Tensor:
        x = to_nchw(input) if self.last else input
        x = self._normalised(x) if self.training else super().forward(x)
        x = self.act(self.drop(x)) if hasattr(self, "act") else x
        return to_nhwc(x) if self.last else x

    def _normalised(self, x: Tensor) -> Tensor:
        exact = at_least_fp32(x)
        mean = _WholeMean.apply(exact.mean((0, 2, 3)), self.group)
        centred = exact - mean[:, None, None]
        variance = _WholeMean.apply(centred.square().mean((0, 2, 3)), self.group)
        self._track(mean.detach(), variance.detach(), self.group.size * x.numel() // x.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, values: int) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        if self.num_batches_tracked is not None:  # None where activations are recomputed
            self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (values / (values - 1)), self.momentum)


def synchronise(network: nn.Module, group: Group) -> None:
    """Replace every batch normalisation layer of `network` by a `WholeBatchNorm`.

    Raises `UserError` for an unsupported kind of layer.
    """
    for name, part in list(network.named_children()):
        if not isinstance(part, _BatchNorm):
            synchronise(part, group)
        elif type(part) in _KNOWN and part.affine and part.track_running_stats and part.momentum is not None:
            setattr(network, name, WholeBatchNorm(part, group))
        else:
            raise UserError(
                f"`training.sync_batch_norm` knows BatchNorm2d with weights and running statistics, and "
                f"{type(network).__name__} has the layer {type(part).__name__}: set it to false, or change the layer"
            )
