"""The selective scan of state space models (Gu and Dao, 2023) in PyTorch, with memory linear in the positions."""

import math
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

#: Number of values of a state tensor computed at once; sequences are processed in groups of this size.
GROUP = 1 << 22


def selective_scan(x: Tensor, dt: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return y (L, G, I): g_l = exp(dt_l A) * g_{l-1} + (dt_l x_l) b_l^T with g_0 = 0 before the first, y_l = g_l c_l.

    G sequences of L positions and I entries with N states each: `x`, `dt` (L, G, I), `decay` A (G, I, N), negative,
    `b`, `c` (L, G, N). States (I, N) exist only for one group of sequences at a time, also in the backward pass: only
    the arguments are saved.
    """
    arguments = [value.float() for value in (x, dt, decay, b, c)]
    device = x.device.type
    with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
        # Without gradients there is nothing to save, and exporters cannot handle custom functions.
        return _SelectiveScan.apply(*arguments) if torch.is_grad_enabled() else _scanned(*arguments)


def _scanned(x: Tensor, dt: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    out = torch.empty_like(x)
    for part in _groups(x, decay):
        _, states = _states(x[:, part], dt[:, part], decay[part], b[:, part])
        out[:, part] = _times(states, c[:, part])
    return out


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dt: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
        ctx.save_for_backward(x, dt, decay, b, c)
        return _scanned(x, dt, decay, b, c)

    # torch declares ctx positional-only in the result of `once_differentiable`.
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """With the factors a_l = exp(dt_l A), e_l = grad_l c_l^T + a_{l+1} e_{l+1} is the gradient of g_l.

        d(dt x)_l = e_l b_l, db_l = e_l^T (dt x)_l, dc_l = g_l^T grad_l, d(dt A)_l = e_l * g_{l-1} * a_l.
        """
        x, dt, decay, b, c = ctx.saved_tensors
        results = [torch.empty_like(value) for value in (x, dt, decay, b, c)]
        dx, ddt, ddecay, db, dc = results
        for part in _groups(x, decay):
            factors, states = _states(x[:, part], dt[:, part], decay[part], b[:, part])
            upstream = grad[:, part]
            errors = _scan(
                torch.cat((factors[1:], torch.ones_like(factors[:1]))).flip(0),
                (upstream[..., None] * c[:, part, None]).flip(0),
            ).flip(0)
            dc[:, part] = torch.einsum("lgin,lgi->lgn", states, upstream)
            entering = x[:, part] * dt[:, part]
            db[:, part] = torch.einsum("lgin,lgi->lgn", errors, entering)
            through = _times(errors, b[:, part])
            dx[:, part] = through * dt[:, part]
            exponent = errors.mul_(factors)
            exponent[1:] *= states[:-1]
            exponent[0] = 0
            ddt[:, part] = through * x[:, part] + (exponent * decay[part]).sum(-1)
            ddecay[part] = torch.einsum("lgin,lgi->gin", exponent, dt[:, part])
        return tuple(results)


def _groups(x: Tensor, decay: Tensor) -> list[slice]:
    length, sequences, entries = x.shape
    step = max(1, GROUP // (length * entries * decay.shape[-1]))
    return [slice(start, start + step) for start in range(0, sequences, step)]


def _states(x: Tensor, dt: Tensor, decay: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the factors exp(dt A) and the states g, each (L, G, I, N)."""
    factors = (dt[..., None] * decay).exp_()
    return factors, _scan(factors, (x * dt)[..., None] * b[:, :, None])


def _times(states: Tensor, weights: Tensor) -> Tensor:
    """(L, G, I, N) times (L, G, N), summed over N."""
    return (states @ weights[..., None])[..., 0]


def _scan(factors: Tensor, values: Tensor) -> Tensor:
    """Return h with h_l = factors_l * h_{l-1} + values_l along the first dimension, and h = 0 before the first.

    About sqrt(L) chunks are scanned in parallel, then the last state of each is carried into the next: 2 sqrt(L) steps
    instead of L, with twice the arithmetic.
    """
    length = len(values)
    width = max(1, math.isqrt(length))
    chunks = -(-length // width)
    missing = chunks * width - length
    if missing:
        padding = (0, 0) * (values.ndim - 1) + (0, missing)
        factors, values = F.pad(factors, padding, value=1.0), F.pad(values, padding)
    factors, states = (value.reshape(chunks, width, *value.shape[1:]) for value in (factors, values))
    states = states.clone()
    decays = torch.empty_like(factors)
    decays[:, 0] = factors[:, 0]
    for position in range(1, width):
        states[:, position].addcmul_(factors[:, position], states[:, position - 1])
        torch.mul(decays[:, position - 1], factors[:, position], out=decays[:, position])
    for chunk in range(1, chunks):
        states[chunk].addcmul_(decays[chunk], states[chunk - 1, -1])
    return states.flatten(0, 1)[:length]
