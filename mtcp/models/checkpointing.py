"""Activation checkpointing: recompute a module in the backward pass instead of storing its activations."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Freeze BatchNorm's running statistics inside the block, so that no batch is counted twice."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked


def recomputed(module: nn.Module, *args: Any) -> Any:
    """Return `module(*args)`; its inner activations are recomputed when the backward pass needs them.

    Excluded from compilation: `torch.compile` does not support the context that freezes the statistics. Excluding a
    function imports torch's compiler, which takes longer than many commands run, so it is done only when needed.
    """
    return torch.compiler.disable(_recomputed)(module, *args)


def _recomputed(module: nn.Module, *args: Any) -> Any:
    return checkpoint(module, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), statistics_kept(module)))
