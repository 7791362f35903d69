"""Collective operations among the processes that train one run together.

All processes enter every collective in the same order, because all see the same losses and take the same decisions.
The results are bit-identical in every process.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Group:
    """`size` processes, of which this is number `rank`, from 0."""

    rank: int
    size: int

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of the processes' `values`, in the dtype and memory layout of this process's `values`."""
        summed = values.detach().clone(memory_format=torch.preserve_format)
        # NCCL and Gloo need contiguous memory. The clone is dense whatever its strides (such as channels last), and all
        # processes have the same strides.
        distributed.all_reduce(summed.as_strided((summed.numel(),), (1,)))
        return summed

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of the processes' `values`."""
        return self.total(values).div_(self.size)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Set each of `tensors` to its mean over the processes, with a single message."""
        if not tensors:
            return
        means = self.mean(torch.cat([tensor.detach().flatten() for tensor in tensors]))
        with torch.no_grad():
            for tensor, mean in zip(tensors, means.split([tensor.numel() for tensor in tensors]), strict=True):
                tensor.copy_(mean.view_as(tensor))

    def any(self, asked: bool, device: torch.device) -> bool:
        """Whether `asked` is true in any process."""
        return bool(self.total(torch.tensor(float(asked), device=device)))


@contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """Join the processes that torch's launcher started with this one: over NCCL on GPUs, over Gloo on a CPU."""
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
