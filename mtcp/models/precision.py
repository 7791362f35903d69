"""The precision of what half precision would spoil: softmax, sums over positions, losses."""

import torch
from torch import Tensor


def at_least_fp32(x: Tensor) -> Tensor:
    """Return `x` in fp32, or as it is in double precision: autocast's bf16 is widened, nothing is rounded."""
    return x.to(wide(x.dtype))


def wide(dtype: torch.dtype) -> torch.dtype:
    """The dtype of `at_least_fp32`."""
    return torch.promote_types(dtype, torch.float32)
