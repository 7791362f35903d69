"""Activation checkpointing: recompute a part in the backward pass instead of keeping what is inside it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


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


def recomputed(module: nn.Module, *args: Any) -> Any:
    """Return `module(*args)`; its inner activations are recomputed when the backward pass needs them.

    Not compiled: `torch.compile` does not take the context in which statistics are kept. The library imports its
    compiler to leave a function out, which takes longer than many a command's work: not before it is needed.
    """
    return torch.compiler.disable(_recomputed)(module, *args)


def _recomputed(module: nn.Module, *args: Any) -> Any:
    return checkpoint(module, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), statistics_kept(module)))
