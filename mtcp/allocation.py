"""How the C library keeps freed memory, as far as it decides a training step's peak."""

import ctypes
from typing import Final

#: Of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: Blocks from this size on are mapped one by one; this much free memory may stay at the end of the heap.
MAPPED: Final = 1 << 20
KEPT: Final = 1 << 26


def return_large_blocks() -> None:
    """Let glibc give the memory of every large tensor back to the system when the tensor is freed.

    By default it raises the size from which it does so up to 32 MiB, and a step's activations, gradients and
    moments, freed in another order than made, leave a heap with holes: a fifth more memory in the end than is ever
    alive. Other C libraries are left alone.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, MAPPED)
        set_option(_M_TRIM_THRESHOLD, KEPT)
