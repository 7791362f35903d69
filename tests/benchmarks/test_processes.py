"""Throughput of two processes on two cores against one on one, for `nyud_lite`'s network; wants a quiet machine.

`pytest tests/benchmarks/test_processes.py -s` prints images a second of one process (batch 8), of two that train
together, with 4 or with 8 images each in a step, and of two that train apart, 4 or 8 images each, which is what the
machine's memory and cache allow. Whole steps are timed, with loading, augmentation and optimiser, in alternating
rounds, on rendered images.
Processor seconds an image, of all processes, say what training together costs even where other work is on the machine.
"""

import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mtcp.core.project import Project
from mtcp.core.rendered import RenderSettings
from mtcp.core.run_config import RunConfig
from mtcp.data.loading.batches import Split, open_split, training_batches
from mtcp.data.rendering.render import render_set
from mtcp.models.architecture import build_network
from mtcp.training.group import Group, joined
from mtcp.training.step import Stepper
from mtcp.training.together import SharedStepper
from mtcp.weighting.base import SchemeContext, build_scheme

ROOT = Path(__file__).resolve().parents[2]
IMAGES, ROUNDS = 16, max(2, int(os.environ.get("ROUNDS", "7")))


def configuration(batch_size: int) -> RunConfig:
    """`mtcp` on `nyud_lite` at 96x128, from random weights."""
    config = Project(ROOT).resolve("nyud_lite", "mtcp", 0)
    encoder = config.encoder.model_copy(update={"weights": None})
    training = config.training.model_copy(update={"batch_size": batch_size})
    changes = {"height": 96, "width": 128, "encoder": encoder, "training": training, "validation_share": 0.0}
    return config.model_copy(update=changes)


def epochs(config: RunConfig, split: Split, group: Group | None) -> Callable[[int], None]:
    """Return a function that trains on all images once."""
    network = build_network(config).train()
    tasks = tuple(task.name for task in config.task_list)
    scheme = build_scheme(config, SchemeContext(tasks, 0, 9, 9, (config.height, config.width), network), ROOT)
    cpu = torch.device("cpu")
    stepper = SharedStepper(config, network, scheme, cpu, group) if group else Stepper(config, network, scheme, cpu)
    steps = [0]

    share = (group.rank, group.size) if group else (0, 1)

    def epoch(number: int) -> None:
        for batch in training_batches(split, config, number, share=share):
            steps[0] += 1  # from 1: diagnostics are no part of it
            stepper.micro_step(batch, steps[0], True)

    scheme.steps = 1
    return epoch


def work(rank: int, port: int, data: Path, pipe) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    with joined(torch.device("cpu")) as group:
        split = open_split(configuration(8), data, "train")
        forms = {
            "one, 8 images": epochs(configuration(8), split, None) if rank == 0 else None,
            "together, 4 each": epochs(configuration(8), split, group),
            "together, 8 each": epochs(configuration(16), split, group),
            "apart, 4 each": epochs(configuration(4), split, None),
            "apart, 8 each": epochs(configuration(8), split, None),
        }
        seconds: dict[str, list[float]] = {name: [] for name in forms}
        spent: dict[str, list[float]] = {name: [] for name in forms}
        for number in range(ROUNDS + 1):
            for name, epoch in forms.items():
                torch.distributed.barrier()
                started, processor = time.perf_counter(), time.process_time()
                if epoch:
                    epoch(number)
                spent[name].append(time.process_time() - processor)
                torch.distributed.barrier()
                seconds[name].append(time.perf_counter() - started)
        pipe.send({name: (seconds[name][1:], spent[name][1:]) for name in forms})


@pytest.mark.slow
def test_two_processes_against_one(tmp_path: Path) -> None:
    render_set(RenderSettings(preset="rooms", train=IMAGES, test=1), 96, 128, tmp_path / "data")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in (0, 1)]
    processes = [
        context.Process(target=work, args=(rank, port, tmp_path / "data", sender), daemon=True)
        for rank, (_, sender) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    found = [receiver.recv() for receiver, _ in pipes]
    seconds = {name: wall for name, (wall, _) in found[0].items()}
    # Two that train apart see every image twice.
    images = {name: IMAGES * (2 if name.startswith("apart") else 1) for name in seconds}
    one, *others = seconds
    for name, wall in seconds.items():
        spent = statistics.median(map(sum, zip(*(each[name][1] for each in found), strict=True))) / images[name]
        rate = images[name] / statistics.median(wall)
        print(f"\n{name:17s}{rate:7.2f} images a second, {spent:.3f} processor seconds an image", end="")
    for name in others:
        ratios = [images[name] / IMAGES * a / b for a, b in zip(seconds[one], seconds[name], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        print(f"\n{name} : {one} = {middle:.2f} ({low:.2f} to {high:.2f})", end="")
    print(f"\nload of the last minute {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {ROUNDS} rounds")
