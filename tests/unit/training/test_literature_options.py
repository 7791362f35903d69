"""Options of training that the loss-weighting literature's protocol needs."""

from types import SimpleNamespace

import pytest
import torch

from mtcp.core.config import Project, TrainingConfig
from mtcp.data.loading.batches import Batch
from mtcp.models.architecture import build_network
from mtcp.training.loop import is_snapshot
from mtcp.training.step import Stepper
from mtcp.weighting.shared import head_parameters


def kept(**settings: int) -> list[int]:
    config = TrainingConfig(epochs=12, batch_size=2, **settings)
    return [epoch for epoch in range(12) if is_snapshot(epoch, config)]


def test_the_last_epochs_are_kept_but_for_the_very_last_which_is_the_model():
    assert kept(last_epochs=4) == [8, 9, 10]
    assert kept(last_epochs=1) == []
    assert kept(last_epochs=50) == list(range(11))
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


def gradients_at_the_step(root, monkeypatch, **clipping) -> tuple[dict[str, torch.Tensor], set[str]]:
    """Gradients by name when the optimiser steps, of a thousand times the sum of losses, and the names of the heads."""
    config = Project(root).resolve("nyuv2_13", "segnet_equal", 0)
    training = config.training.model_copy(update=clipping)
    config = config.model_copy(update={"channels": 4, "height": 32, "width": 32, "training": training})
    network = build_network(config).train()
    # Equal weights, by hand: what is tested comes after a scheme's backward pass.
    scheme = SimpleNamespace(
        backward=lambda losses, *_: (1000 * sum(losses.values())).backward(), at=str, close_step=lambda again: None
    )
    stepper, seen = Stepper(config, network, scheme, torch.device("cpu")), {}
    grads = lambda: seen.update({name: p.grad.clone() for name, p in network.named_parameters()})  # noqa: E731
    monkeypatch.setattr(stepper.optimiser, "step", grads)
    generator = torch.Generator().manual_seed(0)
    targets = {
        "semseg": torch.randint(0, 13, (2, 32, 32), generator=generator),
        "depth": 1 + torch.rand(2, 1, 32, 32, generator=generator),
        "normals": torch.nn.functional.normalize(torch.randn(2, 3, 32, 32, generator=generator), dim=1),
    }
    image = torch.randn(2, 3, 32, 32, generator=generator)
    stepper.micro_step(Batch(("a", "b"), image, targets), 0, True)
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
