"""Settings for large libraries: fast imports, quiet logs, threads and memory."""

import ctypes
import gc
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from inspect import unwrap
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch.optim import Optimizer

_COMPILER: Final = "torch._dynamo.utils"
#: Parameters of glibc's `mallopt` (malloc.h): number, largest value, and the environment variable that sets it.
_KEPT: Final = ((-1, 2**31 - 1, "MALLOC_TRIM_THRESHOLD_"), (-3, 2**25, "MALLOC_MMAP_THRESHOLD_"))


@contextmanager
def uncollected() -> Iterator[None]:
    """Import inside the block without garbage collection, and without wandb, which timm imports if it is installed.

    torch and timm create half a million permanent objects. Scanning them repeatedly takes a fifth of a command's
    startup time, and importing wandb, which only timm's training script needs, another tenth.
    """
    was_on = gc.isenabled()
    gc.disable()
    modules: dict[str, Any] = sys.modules
    unwanted = [name for name in ("wandb",) if name not in modules]
    modules.update(dict.fromkeys(unwanted))  # with None, importing it fails
    try:
        yield
    finally:
        for name in unwanted:
            modules.pop(name, None)
        if was_on:
            gc.enable()


@contextmanager
def compiler_deferred() -> Iterator[None]:
    """Import timm inside the block without torch's compiler, which takes two seconds and is not called yet.

    torchvision imports one function of the compiler, and timm excludes one function from compilation: both are deferred
    to the first call. Does nothing where the compiler is already imported.
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
    """Stands in for the compiler's helper module; any other attribute imports the real module."""

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
    """Let libraries log only errors.

    Their other messages (weights unused by a features-only network, missing CUDA) concern conditions that mtcp checks
    itself and reports once where users need to know. A verbosity set in the user's environment is kept.
    """
    for name in ("timm", "transformers", "huggingface_hub", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Under `training.compile`; what is cached there is a function of its arguments alone.
    warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def compute_with(threads: int) -> None:
    """Let torch use `threads` CPU threads, and let glibc keep freed memory.

    A training step allocates and frees the same memory repeatedly. Memory returned to the system comes back as new
    pages, which must be zeroed: a tenth of a small network's step. Other C libraries than glibc are not changed.
    """
    with uncollected():
        import torch

    torch.set_num_threads(threads)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    for parameter, value, variable in _KEPT:
        if mallopt is not None and variable not in os.environ:
            mallopt(parameter, value)


def optimiser_without_compiler(kind: "type[Optimizer]", *arguments: Any, **settings: Any) -> "Optimizer":
    """Return `kind(*arguments, **settings)`, an optimiser of torch that does not import the compiler: two seconds."""
    import torch

    base = torch.optim.Optimizer
    for function in (base.add_param_group, base.zero_grad, base.state_dict, base.load_state_dict):
        call_without_compiler(function)
    optimiser = kind(*arguments, **settings)
    # torch imports it in a wrapper around `step`, which otherwise only switches gradients off.
    optimiser.step = torch.no_grad()(partial(unwrap(kind.step), optimiser))
    return optimiser


def call_without_compiler(function: Callable[..., Any]) -> None:
    """Let a function of torch be called without importing the compiler.

    On their first call, a few functions ask the compiler to exclude them from graphs, which imports it: three seconds.
    """
    plain: Any = getattr(function, "__wrapped__", None)
    if plain is not None and not hasattr(plain, "__dynamo_disable"):
        plain.__dynamo_disable = plain
