"""Options of training that the loss-weighting literature's protocol needs."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from mtcp.core import plugins
from mtcp.core.project import Project
from mtcp.core.run_config import TrainingConfig
from mtcp.core.snapshots import is_kept
from mtcp.data.loading.batches import Batch
from mtcp.models.architecture import build_network
from mtcp.training.step import Stepper
from mtcp.weighting.base import SchemeContext, build_scheme
from mtcp.weighting.shared import head_parameters

pytestmark = pytest.mark.slow


def kept(**settings: int) -> list[int]:
    config = TrainingConfig(epochs=12, batch_size=2, **settings)
    return [epoch for epoch in range(12) if is_kept(config, epoch)]


def test_the_last_epochs_are_kept_but_for_the_very_last_which_is_the_model():
    assert kept(last_epochs=4) == [8, 9, 10]
    assert kept(last_epochs=1) == []
    assert kept(last_epochs=12) == list(range(11))
    assert kept(snapshots=3, last_epochs=2) == [3, 7, 10]


@pytest.mark.parametrize("method", ["segnet_equal", "mtcp", "mtl_baseline"])
def test_heads_are_found_by_name(method, root):
    config = Project(root).resolve("nyuv2_13" if method == "segnet_equal" else "rooms", method, 0)
    with torch.device("meta"):
        network = build_network(config.model_copy(update={"channels": 8} if method == "segnet_equal" else {}))
    heads = head_parameters(network)
    names = {name for name, parameter in network.named_parameters() if parameter in heads}
    assert names
    assert not {name for name in names if name.startswith("encoder.")}
    assert all("head" in name for name in names)
    for task in (task.name for task in config.task_list):
        assert any(task in name for name in names)


def batch(number: int) -> Batch:
    generator = torch.Generator().manual_seed(number)
    targets = {
        "semseg": torch.randint(0, 13, (2, 32, 32), generator=generator),
        "depth": 1 + torch.rand(2, 1, 32, 32, generator=generator),
        "normals": torch.nn.functional.normalize(torch.randn(2, 3, 32, 32, generator=generator), dim=1),
    }
    return Batch(("a", "b"), torch.randn(2, 3, 32, 32, generator=generator), targets)


def small(root: Path, method: str, **training: object):
    """The run of `method` on nyuv2_13 with SegNets 4 channels wide, on images of 32x32."""
    config = Project(root).resolve("nyuv2_13", method, 0)
    given = {"channels": 4, "height": 32, "width": 32, "training": config.training.model_copy(update=training)}
    return config.model_copy(update=given)


def gradients_at_the_step(root, monkeypatch, **clipping) -> tuple[dict[str, torch.Tensor], set[str]]:
    """Gradients by name when the optimiser steps, of a thousand times the sum of losses, and the names of the heads."""
    config = small(root, "segnet_equal", **clipping)
    network = build_network(config).train()
    # Equal weights, by hand: what is tested comes after a scheme's backward pass.
    scheme = SimpleNamespace(
        backward=lambda losses, *_: (1000 * sum(losses.values())).backward(), at=str, close_step=lambda again: None
    )
    stepper, seen = Stepper(config, network, scheme, torch.device("cpu")), {}
    grads = lambda: seen.update({name: p.grad.clone() for name, p in network.named_parameters()})  # noqa: E731
    monkeypatch.setattr(stepper.optimiser, "step", grads)
    stepper.micro_step(batch(0), 0, True)
    heads = head_parameters(network)
    return seen, {name for name, parameter in network.named_parameters() if parameter in heads}


def test_clipping_is_off_for_all_and_leaves_the_heads_alone_as_published(root, monkeypatch):
    free, heads = gradients_at_the_step(root, monkeypatch)
    assert Project(root).resolve("nyuv2_13", "segnet_pcgrad", 0).training.clip_norm is None
    published = Project(root).resolve("nyuv2_13", "segnet_pcgrad_clipped", 0).training
    clipped, _ = gradients_at_the_step(root, monkeypatch, clip_norm=published.clip_norm, clip=published.clip)
    whole = torch.stack([free[name].norm() for name in free if name not in heads]).norm()
    assert whole > 1
    for name, gradient in clipped.items():
        torch.testing.assert_close(gradient, free[name] if name in heads else free[name] / whole, rtol=1e-4, atol=1e-7)
    everything, _ = gradients_at_the_step(root, monkeypatch, clip_norm=1.0)
    assert torch.stack([gradient.norm() for gradient in everything.values()]).norm().item() == pytest.approx(
        1, rel=1e-4
    )


GRID = yaml.safe_load((plugins.PACKAGE_ROOT / "examples/literature/params.yaml").read_text())["methods"]


def test_every_scheme_has_a_row_and_one_choice_of_what_is_shared(root):
    project, schemes = Project(root), plugins.find("scheme", Path("/nonexistent"))
    rows = {method: project.method(method).scheme.name for method in GRID}
    assert set(rows.values()) == set(schemes)
    combining = {
        name for name in schemes if "shared_parameters" in plugins.load("scheme", name).Parameters.model_fields
    }
    for benchmark in (
        "nyuv2_13",
        "nyuv2_13_as_published",
        "nyuv2_13_lite",
        "cityscapes_7",
        "cityscapes_7_as_published",
    ):
        for method, scheme in rows.items():
            if "_fixed_" in method:
                continue
            config = project.resolve(benchmark, method, 0)
            assert config.training.clip_norm is None
            shared = config.scheme.given.get("shared_parameters")
            assert shared == ("all_but_heads" if scheme in combining else None), (benchmark, method)


@pytest.mark.parametrize("method", GRID)
def test_every_row_trains(method, root):
    config = small(root, method)
    network = build_network(config).train()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}

    def validation(number: int) -> dict[str, torch.Tensor]:
        return stepper.losses_on(batch(100 + number))

    context = SchemeContext(("semseg", "depth", "normals"), 0, 2, 2, (32, 32), network, validation=validation)
    scheme = build_scheme(config, context)
    stepper = Stepper(config, network, scheme, torch.device("cpu"))
    for number in range(2):
        stepper.micro_step(batch(number), number, True)
    scheme.close_epoch()
    after = dict(network.named_parameters())
    assert all(parameter.isfinite().all() for parameter in after.values())
    still = [name for name, value in before.items() if "head" in name and torch.equal(after[name], value)]
    assert not still, "every task's head learns"
