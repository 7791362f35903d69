"""Separate random streams, each a pure function of names.

Seeds are hashed from (benchmark, seed, purpose, ...) and never from the method, so two methods with the same seed see
the same batches and, where they share parameters, start from the same values.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: Seeds that users give lie between 0 and this.
LARGEST_SEED: Final = 10**9


def stream(*parts: str | int) -> int:
    """Return the 63-bit seed of `parts`: the first bits of SHA-256 over their text, the same on every platform."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_all(number: int) -> None:
    """Seed the global generators of torch, NumPy and Python, any of which a plug-in may draw from."""
    import numpy as np
    import torch

    torch.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)


@contextmanager
def seeded(*parts: str | int) -> Iterator[None]:
    """Call `seed_all` with the stream `parts` inside the block; the outer state is restored afterwards (torch: CPU).

    Network parts are built inside such blocks, one name per part, so that switching off one part does not change the
    initial values of the others.
    """
    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            seed_all(stream(*parts))
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
