"""Activation checkpointing: recompute a part in the backward pass instead of keeping what is inside it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

#: Values of the smallest map of which a CPU keeps little.
LARGE = 1 << 18


def pays(x: Tensor) -> bool:
    """Whether a part that reads `x`, and is cheap beside the memory it takes, is computed again without being asked.

    So it is on a CPU, which has little memory and feels traffic; a GPU has more of it, and computes again where
    `training.checkpointing` says so.
    """
    return x.is_cpu and x.numel() >= LARGE


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Leave running statistics of BatchNorm as they are inside the block, so that no batch counts twice."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked


def recomputed(
    module: nn.Module,
    *args: Any,
    part: Callable[..., Any] | None = None,
    again: Callable[[], AbstractContextManager] = nullcontext,
) -> Any:
    """Return `module(*args)`, or `part(*args)`, a method of it; what is inside is computed anew in the backward pass.

    That second computation runs within the context `again()`. Under `torch.compile` the compiler decides what is kept.
    """
    compute = part or module
    if torch.compiler.is_compiling():
        return compute(*args)

    @contextmanager
    def second() -> Iterator[None]:
        with statistics_kept(module), again():
            yield

    return checkpoint(compute, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), second()))
