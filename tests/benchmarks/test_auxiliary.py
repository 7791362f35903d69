"""What auxiliary losses do to the encoder's step under weighting schemes, on rendered rooms and the untrained network.

`pytest tests/benchmarks/test_auxiliary.py -s` prints, for every scheme and both readings of `auxiliary_weighting`, the
mean over four training batches of the cosine between the encoder's step and the gradient of the auxiliary losses alone,
and of the share of the step's norm that came from the scheme. docs/schemes.md quotes them.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

import pytest
import torch

from mtcp.core.project import Project
from mtcp.core.rendered import RenderSettings
from mtcp.core.run_config import PluginConfig, RunConfig
from mtcp.data.loading.batches import Batch, open_split, training_batches
from mtcp.data.rendering.render import render_set
from mtcp.models.architecture import build_network
from mtcp.training.losses import batch_losses, weighed_losses
from mtcp.weighting.base import SchemeContext, build_scheme

ROOT = Path(__file__).parents[2]
BATCHES = 4
SCHEMES = ("equal", "mgda", "aligned_mtl", "nash_mtl", "imtl_g", "db_mtl")


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> list[Batch]:
    """The first four training batches of a small set of rooms."""
    config = configuration("equal", "own_task")
    folder = tmp_path_factory.mktemp("rooms")
    settings = RenderSettings(preset="rooms", train=BATCHES * config.training.batch_size, test=1)
    render_set(settings, config.height, config.width, folder)
    split = open_split(config.model_copy(update={"validation_share": 0.0}), folder, "train")
    return list(islice(training_batches(split, config, 0), BATCHES))


def configuration(scheme: str, reading: Literal["own_task", "unweighted"]) -> RunConfig:
    config = Project(ROOT).resolve("rooms", "mtcp_equal", 0)
    losses = config.losses.model_copy(update={"auxiliary_weighting": reading})
    return config.model_copy(update={"scheme": PluginConfig(name=scheme), "losses": losses})


def measured(config: RunConfig, batches: list[Batch]) -> Iterator[tuple[float, float]]:
    """Cosine and share of every batch, each seen by the untrained network."""
    torch.manual_seed(0)
    network = build_network(config).train()
    tasks = tuple(task.name for task in config.task_list)
    context = SchemeContext(tasks, 0, 1, BATCHES, (config.height, config.width), network, diagnostics_every=1)
    scheme = build_scheme(config, context, ROOT)
    encoder = [parameter for parameter in network.encoder.parameters() if parameter.requires_grad]
    for batch in batches:
        representation = network.encode(batch.image)
        outputs = network.decode(representation, tuple(batch.image.shape[-2:]))
        final, auxiliary = batch_losses(outputs, batch.targets, config.task_list, config.losses)
        alone = torch.autograd.grad(
            torch.stack(list(auxiliary.values())).sum(), encoder, retain_graph=True, materialize_grads=True
        )
        scheme.backward(*weighed_losses(final, auxiliary, config.losses), representation, 1.0)
        step = [torch.zeros_like(p) if p.grad is None else p.grad for p in encoder]
        cosine = torch.cosine_similarity(flat(step), flat(alone), dim=0)
        network.zero_grad()
        scheme.close_epoch()
        yield cosine.item(), scheme.record()["scheme_share"]


def flat(tensors: object) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


@pytest.mark.slow
def test_auxiliary_losses(batches: list[Batch]) -> None:
    print(f"\n{'scheme':12s} {'unweighted':>18s} {'own_task':>18s}   (cosine, share)")
    for name in SCHEMES:
        means = []
        for reading in ("unweighted", "own_task"):
            found = torch.tensor(list(measured(configuration(name, reading), batches)))
            means += found.mean(0).tolist()
        print(f"{name:12s} {means[0]:9.3f} {means[1]:8.3f} {means[2]:9.3f} {means[3]:8.3f}")
        assert means[3] == 1  # nothing passes by the scheme
