"""One measurement of a method in its own process: seconds and memory of its predictions and training steps.

The fork server of `mtcp.store.speed` imports this module, and torch with it, once: a process of its own then costs no
start-up.
"""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from mtcp.core.load import Watch
from mtcp.core.startup import compute_with, quiet_libraries, uncollected
from mtcp.core.usage import forget_peak_memory, peak_memory_mb
from mtcp.store.records import SpeedRound

with uncollected():
    import torch

    from mtcp.core.run_config import RunConfig
    from mtcp.models.architecture import build_network
    from mtcp.store.rehearsal import made_up, made_up_training
    from mtcp.training.loop import step_of

_WARM_UP: Final = 2


def time_method(config: RunConfig, root: Path, device: str, threads: int, steps: int) -> SpeedRound:
    """Return medians over `steps` predictions and as many optimiser steps, after warm-up steps, and the peaks of both.

    As in a run's record, seconds per step are those of one of its `training.accumulate` batches. Images and targets are
    made up. Runs in its own process: it changes threads and working directory.
    """
    quiet_libraries()
    os.chdir(root)  # plug-ins are searched in the working directory
    compute_with(threads)
    network = build_network(config).to(device)
    judged, trained = (
        made_up(config, images).to(device) for images in (config.evaluation.batch_size, config.training.batch_size)
    )
    stepper, _ = made_up_training(config, network, trained)

    def predict(images: torch.Tensor) -> None:
        with torch.no_grad(), stepper.autocast():
            network(images)

    accumulate = config.training.accumulate

    def step() -> None:
        for index in range(accumulate):
            batches, boundary = step_of(index, accumulate, accumulate)
            stepper.micro_step(trained, index, boundary, batches)

    watch = Watch()
    network.eval()
    forget_peak_memory(device)
    image, image_memory = _median_seconds(partial(predict, judged.image), steps, device), peak_memory_mb(device)
    del judged
    network.train()
    forget_peak_memory(device)
    return SpeedRound(
        seconds_per_step=_median_seconds(step, steps, device) / accumulate,
        seconds_per_image=image / config.evaluation.batch_size,
        step_memory_mb=peak_memory_mb(device),
        image_memory_mb=image_memory,
        others=watch.others(),
    )


def _median_seconds(action: Callable[[], None], steps: int, device: str) -> float:
    times = []
    for _ in range(_WARM_UP + steps):
        started = time.perf_counter()
        action()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[_WARM_UP:])
