"""One method in a process of its own, which does a step or a prediction when its turn comes, and times it."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from enum import Enum
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Self

from mtcp.core.config import RunConfig
from mtcp.core.processes import end_with_parent
from mtcp.core.startup import compute_with, quiet_libraries, uncollected
from mtcp.core.usage import cpu_seconds, peak_memory_mb
from mtcp.store.plan import Run


class Action(Enum):
    """What a worker can be asked for."""

    PREDICT = "predict"
    STEP = "step"


class Worker:
    """A process that holds the network of `run` and works only when asked; it ends with the block."""

    def __init__(self, run: Run, device: str, threads: int) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=end_with_parent)
        self._ready = self._pool.submit(_begin, run.config, run.root, device, threads)

    def take(self, action: Action) -> float:
        """Do `action` once and return its seconds."""
        return self._ask(_take, action)

    def memory(self) -> float:
        """Peak memory so far, in MiB."""
        return self._ask(_memory)

    def used(self) -> float:
        """Processor seconds so far."""
        return self._ask(cpu_seconds)

    def _ask(self, function: Callable[..., float], *given: Action) -> float:
        self._ready.result()  # where the network cannot be built, this says why
        return self._pool.submit(function, *given).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


class _Work:
    """What the process holds: the network, what trains it, and made-up images."""

    def __init__(self, config: RunConfig, device: str) -> None:
        from mtcp.models.architecture import build_network
        from mtcp.store.rehearsal import made_up, made_up_training

        self.device = device
        self.network = build_network(config).to(device)
        sizes = config.evaluation.batch_size, config.training.batch_size
        judged, trained = (made_up(config, images).to(device) for images in sizes)
        self.stepper, _ = made_up_training(config, self.network, trained)
        self.actions = {
            Action.PREDICT: partial(self._predict, judged.image),
            Action.STEP: partial(self.stepper.micro_step, trained, 0, True),
        }

    def _predict(self, image: Any) -> None:
        import torch

        with torch.no_grad(), self.stepper.autocast():
            self.network(image)

    def take(self, action: Action) -> float:
        import torch

        self.network.train(action is Action.STEP)
        started = time.perf_counter()
        self.actions[action]()
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - started


_work: _Work | None = None


def _begin(config: RunConfig, root: Path, device: str, threads: int) -> None:
    global _work
    quiet_libraries()
    os.chdir(root)  # where plug-ins are looked for
    with uncollected():
        import torch  # noqa: F401
    compute_with(threads)
    _work = _Work(config, device)


def _take(action: Action) -> float:
    assert _work is not None
    return _work.take(action)


def _memory() -> float:
    assert _work is not None
    return peak_memory_mb(_work.device)
