"""One training step and one evaluation on two synthetic images, to find a method's faults before data are read.

Larger images are scaled to about 128 pixels on their longer side, which reveals the same faults of a plug-in within a
second. Whether the encoder supports the benchmark's own size is checked when the network is built.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mtcp.core import plugins
from mtcp.core.config import Method
from mtcp.core.errors import UserError, alternatives
from mtcp.core.plugins import faults_named
from mtcp.core.project_files import MODEL
from mtcp.core.randomness import seeded, stream
from mtcp.core.run_config import RunConfig, TrainingConfig
from mtcp.core.tasks import KINDS_OF_LOSS, VOID, Task
from mtcp.data.loading.batches import Batch
from mtcp.evaluation.evaluate import evaluate
from mtcp.metrics.meters import meter
from mtcp.models.architecture import Architecture, Outputs, build_network
from mtcp.models.checkpoints import load_network, save_network
from mtcp.models.outputs import require_outputs
from mtcp.training.history import LOSS, untrained_tasks
from mtcp.training.step import Stepper
from mtcp.weighting.base import Diverged, LossNotFinite, NotFinite, SchemeContext, build_scheme, own_faults_named
from mtcp.weighting.probe import probe_scheme

_LARGEST: Final = 128


def rehearse(config: RunConfig, schemes: Sequence[RunConfig] = ()) -> list[str]:
    """Train one step and evaluate one batch of `config`, and train one step with the scheme of each of `schemes`.

    Returns notes that are not errors. Raises `UserError` naming the plug-in, file and line.
    """
    network = build_network(config)
    config, network = _smaller(config, network)
    batch = made_up(config)
    notes: list[str] = []
    if network.trainable:
        _require_finite_outputs(network, config, batch)
        for each in (config, *schemes):
            same = {"height": config.height, "width": config.width, "training": _plain(each)}
            notes += _train_step(each.model_copy(update=same), network, batch)
    else:
        with faults_named(f"architecture '{network.name}'"):
            network.fit(iter([batch]))
    with faults_named(f"architecture '{network.name}'"), TemporaryDirectory() as folder:
        with torch.no_grad():
            require_outputs(network, network.eval()(batch.image), config.task_list, batch.image)
        meters = {task.name: meter(task, config.evaluation) for task in config.task_list}
        evaluate(network, meters, [batch], "cpu")
        save_network(network, config, Path(folder, MODEL))
        _require_kept(network, load_network(config, Path(folder, MODEL)), batch.image)
    return list(dict.fromkeys(notes))


def require_searchable(method: Method) -> None:
    """Raise `UserError` where `search` gives the range of a parameter that the method's scheme does not have."""
    known = plugins.load("scheme", method.scheme.name).Parameters.model_fields
    for name in method.search:
        if name not in known:
            raise UserError(
                f"search: scheme '{method.scheme.name}' has no parameter '{name}'{alternatives(name, known)}"
            )


def _require_kept(network: Architecture, loaded: Architecture, image: Tensor) -> None:
    """Raise `UserError` unless `loaded`, read from the file of the trained `network`, predicts the same."""
    made, again = (_predicted(each, image) for each in (network, loaded))
    for task, outputs in made.items():
        for name, output in outputs.items():
            if not torch.allclose(output, again[task][name], rtol=1e-3, atol=1e-5, equal_nan=True):
                raise UserError(
                    f"architecture '{network.name}': read from its file, the network predicts otherwise than it did "
                    f"when it was written (output '{name}' of task '{task}'): only parameters and buffers are kept; "
                    "what training changes must be one of these (`register_buffer`), no plain attribute"
                )


def _predicted(network: Architecture, image: Tensor) -> Outputs:
    """The predictions of `network`; one that draws numbers gets the same ones each time."""
    with torch.no_grad(), seeded("rehearsal"):
        return network.eval()(image)


def _smaller(config: RunConfig, network: Architecture) -> tuple[RunConfig, Architecture]:
    """The configuration and its network at a small size, with random weights; unchanged where that size is refused."""
    scale = _LARGEST / max(config.height, config.width)
    if scale >= 1:
        return config, network
    height, width = (max(32, round(side * scale / 32) * 32) for side in (config.height, config.width))
    encoder = config.encoder.model_copy(update={"pretrained": False, "weights": None, "sha256": None})
    small = config.model_copy(update={"height": height, "width": width, "encoder": encoder})
    try:
        return small, build_network(small)
    except UserError:  # an encoder that supports only one size
        return config, network


def _plain(config: RunConfig) -> TrainingConfig:
    """The training settings without compilation and bfloat16, which would take minutes on a CPU."""
    return config.training.model_copy(update={"compile": False, "precision": "fp32"})


def _train_step(config: RunConfig, network: Architecture, batch: Batch) -> Iterator[str]:
    """Run one optimiser step and the end of an epoch, then the scheme's own trial; yields notes."""
    stepper, context = made_up_training(config, network, batch)
    scheme, tasks = stepper.scheme, context.tasks
    try:
        losses = stepper.micro_step(batch, 0, boundary=True)
        if not all(parameter.isfinite().all() for parameter in network.parameters()):
            raise UserError(f"architecture '{network.name}': a gradient is not finite in the first step")
        with own_faults_named(scheme.at()):
            scheme.close_epoch()
            row = {f"{LOSS}{task}": value for task, value in losses.items()} | scheme.record()
            scheme.flags()
        probe_scheme(config)
    except Diverged as error:
        if isinstance(error, NotFinite) and error.step == 0:
            whose = f"architecture '{network.name}': " if isinstance(error, LossNotFinite) else ""
            raise UserError(f"{whose}{error}") from error
        # Not an error, as in a run: losses of such images need not suit every scheme.
        yield f"scheme '{config.scheme.name}' diverges on synthetic test images: {error}"
        return
    for task in untrained_tasks([row], tasks):
        yield f"task '{task}' receives no gradient: its numbers would be those of an untrained head"


def _require_finite_outputs(network: Architecture, config: RunConfig, batch: Batch) -> None:
    """Raise `UserError` for the first output of the untrained network that is NaN or infinite somewhere."""
    with faults_named(f"architecture '{network.name}', step 0"), seeded("rehearsal"):
        outputs = network.train()(batch.image)
    require_outputs(network, outputs, config.task_list, batch.image)
    for task, made in outputs.items():
        for name, output in made.items():
            if not output.isfinite().all():
                raise UserError(
                    f"architecture '{network.name}': output '{name}' of task '{task}' is not finite in the first step"
                )


def made_up_training(config: RunConfig, network: Architecture, batch: Batch) -> tuple[Stepper, SchemeContext]:
    """The stepper that trains `network` on `batch`, on the batch's device, and the context of its scheme."""
    tasks = tuple(task.name for task in config.task_list)
    seed, size = stream(config.benchmark, 0, "scheme"), (config.height, config.width)

    def look(number: int) -> dict[str, Tensor]:
        return stepper.losses_on(batch)

    validation = look if config.validation_share else None
    context = SchemeContext(tasks, seed, config.training.epochs, 1, size, network, validation=validation)
    device = batch.image.device
    stepper = Stepper(config, network.train(), build_scheme(config, context).to(device), device)
    return stepper, context


def made_up(config: RunConfig, images: int = 2) -> Batch:
    """A batch of random images and targets, with two rows of void pixels."""
    draws = torch.Generator().manual_seed(0)
    size = (config.height, config.width)
    image = torch.randn(images, 3, *size, generator=draws)
    targets = {task.name: _target(task, (images, *size), draws) for task in config.task_list}
    for target in targets.values():
        target[..., :2, :] = VOID
    return Batch(tuple(f"made-up {number}" for number in range(1, images + 1)), image, targets)


def _target(task: Task, shape: tuple[int, int, int], draws: torch.Generator) -> Tensor:
    images, *size = shape
    if task.classifies:
        return torch.randint(task.channels, shape, generator=draws)
    if task.kind in KINDS_OF_LOSS["balanced_bce"]:
        return torch.randint(2, (images, 1, *size), generator=draws).float()
    if task.kind == "normals":
        return normalize(torch.randn(images, 3, *size, generator=draws), dim=1)
    return 0.5 + 5 * torch.rand(images, task.channels, *size, generator=draws)
