"""What a plug-in draws, from any generator, is a function of the run's seed."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from mtcp.core import plugins
from mtcp.core.project import Project
from mtcp.core.randomness import seeded
from mtcp.models.architecture import build_network
from mtcp.store.rehearsal import made_up, made_up_training


def draws() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


def test_a_block_seeds_all_generators_and_leaves_none_changed() -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draws()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with seeded("a", 0):
        first = draws()
    assert draws() == expected
    with seeded("a", 0):
        assert draws() == first
    with seeded("a", 1):
        assert not set(draws()) & set(first)


def drawing(method: Callable) -> Callable:
    """`method` that keeps three draws as `drawn`."""

    def changed(self: torch.nn.Module, *arguments: object, **named: object) -> object:
        out = method(self, *arguments, **named)
        self.drawn = draws()
        return out

    return changed


@pytest.mark.parametrize(
    ("kind", "name", "method"),
    [
        ("architecture", "mtl_baseline_light", "__init__"),
        ("scheme", "uncertainty", "__init__"),
        ("architecture", "mtl_baseline_light", "encode"),
        ("scheme", "uncertainty", "total"),
    ],
)
def test_a_plug_in_draws_the_same_at_every_start(
    root, monkeypatch: pytest.MonkeyPatch, kind: str, name: str, method: str
) -> None:
    found = plugins.load(kind, name)
    monkeypatch.setattr(found, method, drawing(getattr(found, method)))
    methods = {"architecture": "mtl_baseline_light", "scheme": "uncertainty"}

    def started(seed: int) -> list[float]:
        config = Project(root).resolve("rooms", methods[kind], seed).model_copy(update={"validation_share": 0.0})
        network, batch = build_network(config), made_up(config)
        stepper, _ = made_up_training(config, network, batch)
        if method != "__init__":
            stepper.micro_step(batch, 0, boundary=True)
        return (network if kind == "architecture" else stepper.scheme).drawn

    first = started(0)
    assert started(0) == first
    assert not set(started(1)) & set(first)
