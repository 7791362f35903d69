"""Importing large libraries, what they may say, and what they may keep."""

import ctypes
import gc
import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from types import ModuleType
from typing import Any, Final

_COMPILER: Final = "torch._dynamo.utils"
#: glibc's `mallopt` (malloc.h): the parameter's number, its largest value, and the variable by which a user sets it.
_KEPT: Final = ((-1, 2**31 - 1, "MALLOC_TRIM_THRESHOLD_"), (-3, 2**25, "MALLOC_MMAP_THRESHOLD_"))


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


@contextmanager
def compiler_deferred() -> Iterator[None]:
    """Import timm inside the block without torch's compiler, which takes two seconds and which nothing there calls yet.

    torchvision asks the compiler for one function, and timm lets it leave one out of compilation: both are done when
    they are called. Where the compiler is imported already, nothing is special.
    """
    import torch

    if _COMPILER in sys.modules:
        yield
        return
    disable = torch.compiler.disable
    sys.modules[_COMPILER] = stand_in = _Deferred(_COMPILER)
    torch.compiler.disable = _disabled_later
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if sys.modules.get(_COMPILER) is stand_in:
            del sys.modules[_COMPILER]


def _disabled_later(function: Callable[..., Any] | None = None, recursive: bool = True, **more: Any) -> Any:
    if function is None:
        return partial(_disabled_later, recursive=recursive, **more)

    @wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        import torch

        return torch.compiler.disable(function, recursive, **more)(*args, **kwargs)

    return inner


class _Deferred(ModuleType):
    """Stands for the compiler's helpers; what else is asked for is taken from the module itself."""

    @staticmethod
    def is_compile_supported(device: Any) -> bool:
        return importlib.import_module(_COMPILER).is_compile_supported(device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]
        return getattr(importlib.import_module(_COMPILER), name)


def quiet_libraries() -> None:
    """Let libraries report errors alone.

    What they note besides (weights that a features-only network has no use for, a CUDA that is not there) is checked
    here, and what a user must know is said once, by us. A level that the user's environment sets stays.
    """
    for name in ("timm", "transformers", "huggingface_hub", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def compute_with(threads: int) -> None:
    """Let torch compute with `threads` CPU threads, and keep the memory that it frees.

    A training step takes and frees the same memory again and again. Handed back to the system, it returns as new pages,
    which are zeroed first: a tenth of a small network's step. Another C library than glibc decides for itself.
    """
    import torch

    torch.set_num_threads(threads)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    for parameter, value, variable in _KEPT:
        if mallopt is not None and variable not in os.environ:
            mallopt(parameter, value)


def call_without_compiler(function: Callable[..., Any]) -> None:
    """Let a function of torch be called as it is.

    A few ask the compiler, when they are first called, to leave them out of graphs, which imports it: three seconds.
    """
    plain: Any = getattr(function, "__wrapped__", None)
    if plain is not None and not hasattr(plain, "__dynamo_disable"):
        plain.__dynamo_disable = plain
