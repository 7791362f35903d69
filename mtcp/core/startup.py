"""Importing large libraries, and what they may say."""

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def uncollected() -> Iterator[None]:
    """Import inside the block without garbage collection, and without what timm imports only because it is installed.

    torch and timm make half a million objects that stay. Searching them again and again takes a fifth of the time until
    a command begins its work, and wandb, which timm's own training script logs to, another tenth.
    """
    was_on = gc.isenabled()
    gc.disable()
    modules: dict[str, Any] = sys.modules
    unwanted = [name for name in ("wandb",) if name not in modules]
    modules.update(dict.fromkeys(unwanted))  # None: an import of it fails
    try:
        yield
    finally:
        for name in unwanted:
            modules.pop(name, None)
        if was_on:
            gc.enable()


def quiet_libraries() -> None:
    """Let libraries report errors alone.

    What they note besides (weights that a features-only network has no use for, a CUDA that is not there) is checked
    here, and what a user must know is said once, by us. A level that the user's environment sets stays.
    """
    for name in ("timm", "transformers", "huggingface_hub", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
