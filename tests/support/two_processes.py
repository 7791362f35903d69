"""A few steps of training in one process, or in each of two: what tests compare."""

import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtcp.core.project import Project
from mtcp.core.randomness import seeded
from mtcp.core.run_config import EncoderConfig, PluginConfig, RunConfig, TaskConfig
from mtcp.core.tasks import VOID
from mtcp.data.loading.batches import Batch
from mtcp.models.architecture import build_network
from mtcp.training.group import Group, joined
from mtcp.training.step import Stepper
from mtcp.training.together import SharedStepper
from mtcp.training.whole_batch_norm import synchronise
from mtcp.weighting.base import SchemeContext, build_scheme

ROOT = Path(__file__).resolve().parents[2]
STEPS = 2
TASKS = {
    name: TaskConfig.model_validate({"classes": 5} if name == "semseg" else {})
    for name in ("semseg", "depth", "normals", "sal")
}
ENCODER = EncoderConfig.model_validate(
    {"kind": "timm", "model": "resnet10t", "args": {"channels": [8, 8, 16, 16], "stem_width": 8}}
)


def configuration(
    scheme: str = "equal", *, architecture: str = "mtl_baseline_light", synchronised: bool = False, **training: Any
) -> RunConfig:
    """A network of `rooms` in small; gradients enter the parameters as they are, without Adam's division."""
    config = Project(ROOT).resolve("rooms", "mtcp_equal", 0)
    given = {"batch_size": 4, "sync_batch_norm": synchronised, "optimiser": "sgd", "learning_rate": 0.01, **training}
    options = {"weights": dict.fromkeys(TASKS, 1.5)} if scheme == "fixed" else {}
    return config.model_copy(
        update={
            "tasks": TASKS,
            "height": 32,
            "width": 48,
            "channels": 8,
            "encoder": ENCODER,
            "architecture": PluginConfig(name=architecture),
            "scheme": PluginConfig(name=scheme, **options),
            "training": config.training.model_copy(update=given),
        }
    )


def batch(number: int, whole: bool = False) -> Batch:
    """Four images; unless they are `whole`, halves have unequal numbers of valid pixels, and one of them no depth."""
    with seeded("two processes", number):
        image = torch.randn(4, 3, 32, 48)
        targets = {
            "semseg": torch.randint(5, (4, 32, 48)),
            "depth": 0.5 + torch.rand(4, 1, 32, 48),
            "normals": torch.nn.functional.normalize(torch.randn(4, 3, 32, 48), dim=1),
            "sal": (torch.rand(4, 1, 32, 48) < 0.2).float(),
        }
    if whole:
        targets["sal"][2:] = targets["sal"][:2]  # the balance of positives and negatives is a batch's
    else:
        targets["semseg"][0, 8:] = VOID
        targets["depth"][2:] = VOID
        targets["sal"][:2, :, :16] = 1
        targets["sal"][3, :, 4:] = VOID
    return Batch(("a", "b", "c", "d"), image, targets)


def halves(whole: Batch) -> list[Batch]:
    return [
        Batch(whole.ids[own], whole.image[own], {name: target[own] for name, target in whole.targets.items()})
        for own in (slice(0, 2), slice(2, 4))
    ]


def trained(config: RunConfig, group: Group | None = None, whole: bool = False, accumulate: bool = False) -> list[Any]:
    """Losses of every step, parameters, running statistics and the scheme's state after `STEPS` steps.

    `accumulate`: both halves of a batch one after the other, in one process.
    """
    network = build_network(config).train()
    if group and config.training.sync_batch_norm:
        synchronise(network, group)
    tasks = tuple(task.name for task in config.task_list)
    context = SchemeContext(
        tasks, 7, 4, STEPS, (32, 48), network, diagnostics_every=1,
        validation=lambda number: stepper.losses_on(batch(1000 + number, whole)),
    )  # fmt: skip
    scheme = build_scheme(config, context, ROOT)
    if group is None:
        stepper = Stepper(config, network, scheme, torch.device("cpu"))
    else:
        stepper = SharedStepper(config, network, scheme, torch.device("cpu"), group)
    losses = []
    for number in range(STEPS):
        parts = halves(batch(number, whole)) if accumulate or group else [batch(number, whole)]
        parts = [parts[group.rank]] if group else parts
        for index, part in enumerate(parts):
            losses.append(stepper.micro_step(part, len(parts) * number + index, index + 1 == len(parts), len(parts)))
    scheme.close_epoch()
    return [losses, _tensors(network.state_dict()), _tensors(scheme.state_dict()), scheme.record()]


def _tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def in_two_processes(cases: dict[str, tuple[RunConfig, bool]], folder: Path) -> list[dict[str, list[Any]]]:
    """Train every case, (configuration, whole), in two processes that Gloo connects; what each has in the end."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(rank, port, cases, folder), daemon=True) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
        assert process.exitcode == 0
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def _work(rank: int, port: int, cases: dict[str, tuple[RunConfig, bool]], folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    with joined(torch.device("cpu")) as group:
        found = {name: trained(config, group, whole) for name, (config, whole) in cases.items()}
    torch.save(found, folder / f"{rank}.pt")
