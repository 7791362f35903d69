"""Separate random streams, each a pure function of names.

Streams are hashed from (benchmark, repetition, purpose, ...) and never from the method, so that two methods on
one seed see the same batches and, where they share parameters, start from the same values.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager


def stream(*parts: str | int) -> int:
    """Return the 63-bit seed that belongs to `parts`: the head of SHA-256 over their text, any platform alike."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(*parts: str | int) -> Iterator[None]:
    """Draw from the stream `parts` on torch's CPU generator inside the block; the outer state comes back after it.

    Network parts are built inside such blocks, one name a part, so that switching one part off leaves the
    initial values of all others as they were.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(*parts))
        yield
