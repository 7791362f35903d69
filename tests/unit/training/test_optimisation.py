"""Optimiser and schedule: hand-computed rates, and the update of every optimiser against its formula."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from mtcp.core.errors import UserError
from mtcp.core.run_config import TrainingConfig
from mtcp.core.validation import validated
from mtcp.models.architecture import Backbone, backbone_parameters
from mtcp.training.optimisation import build_optimiser, learning_rate


def settings(**changes) -> TrainingConfig:
    given = {"epochs": 10, "batch_size": 2, "learning_rate": 1e-3, **changes}
    return validated(TrainingConfig, given, "a test")


def rates(steps: int = 4, **changes) -> list[float]:
    chosen = settings(**changes)
    return [learning_rate(chosen, epoch, step, steps) for epoch in range(chosen.epochs) for step in range(steps)]


def test_poly_per_epoch_is_the_released_schedule() -> None:
    found = rates()
    assert found[0] == found[3] == 1e-3, "constant within an epoch"
    assert found[4 * 5] == pytest.approx(1e-3 * 0.5**0.9)
    assert rates(decay_power=0.0)[-1] == 1e-3


def test_poly_per_step_falls_at_every_step() -> None:
    found = rates(schedule_per="step")
    assert found[1] == pytest.approx(1e-3 * (1 - 1 / 40) ** 0.9)
    assert found[-1] == pytest.approx(1e-3 * (1 / 40) ** 0.9)
    assert all(later < earlier for earlier, later in pairwise(found))


def test_cosine_has_half_the_rate_halfway() -> None:
    found = rates(schedule="cosine")
    assert found[0] == 1e-3
    assert found[4 * 5] == pytest.approx(0.5e-3)


@pytest.mark.parametrize("per", ["epoch", "step"])
def test_step_falls_at_whole_multiples(per: str) -> None:
    found = rates(steps=3, schedule="step", decay_every=4, decay_factor=0.5, schedule_per=per)
    expected = [1e-3] * 12 + [0.5e-3] * 12 + [0.25e-3] * 6
    assert found == pytest.approx(expected)


def test_warm_up_rises_linearly_and_the_schedule_takes_what_is_left() -> None:
    assert rates(steps=1, warmup_epochs=2)[:3] == pytest.approx([0.5e-3, 1e-3, 1e-3])
    found = rates(steps=4, warmup_epochs=2, schedule_per="step")
    assert found[0] == pytest.approx(1e-3 / 8)
    assert found[7] == pytest.approx(1e-3)
    assert found[8 + 16] == pytest.approx(1e-3 * 0.5**0.9), "half of the eight epochs that are left"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schedule": "step"}, "needs `decay_every`"),
        ({"decay_every": 3}, "belongs to `schedule: step`"),
        ({"warmup_epochs": 10}, "leaves none of the 10 epochs"),
        ({"last_epochs": 11}, "`last_epochs` 11 is more than the 10 epochs"),
        ({"snapshots": 20}, "`snapshots` 20 is more than the 10 epochs"),
        ({"optimiser": "lion"}, "expected one of adamw, adam, sgd"),
    ],
)
def test_what_cannot_work_is_refused(change: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        settings(**change)


def updated(updates: int = 1, **changes) -> float:
    """A weight of 1 after updates with the gradient 2."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.ones_(network.weight)
    chosen = settings(learning_rate=0.1, weight_decay=0.5, **changes)
    optimiser = build_optimiser(network, chosen, torch.device("cpu"))
    network.weight.grad = torch.full((1, 1), 2.0)
    for _ in range(updates):
        optimiser.step()
    return network.weight.item()


def test_each_optimiser_does_its_update() -> None:
    # Adam's first step has length lr, whatever the gradient; AdamW multiplies by 1 - lr * decay before it.
    assert updated() == pytest.approx(1 * (1 - 0.05) - 0.1, abs=1e-6)
    assert updated(optimiser="adam") == pytest.approx(0.9, abs=1e-6)
    # SGD: the decay is added to the gradient, 2 + 0.5 * 1; momentum starts at the gradient.
    assert updated(optimiser="sgd") == pytest.approx(1 - 0.1 * 2.5)
    # The second: 2 + 0.5 * 0.75, and 0.8 times the first.
    assert updated(2, optimiser="sgd", momentum=0.8) == pytest.approx(0.75 - 0.1 * (2.375 + 0.8 * 2.5))


class Pretrained(Backbone):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(1, 1, bias=False)

    def pretrained(self) -> nn.Module:
        return self.body


def test_a_backbone_learns_at_its_own_rate() -> None:
    network = nn.Sequential(Pretrained(), nn.Linear(1, 1, bias=False))
    chosen = settings(learning_rate=0.1, backbone_multiplier=0.25, weight_decay=0.0, optimiser="adam")
    optimiser = build_optimiser(network, chosen, torch.device("cpu"))
    before = [parameter.item() for parameter in network.parameters()]
    for parameter in network.parameters():
        parameter.grad = torch.ones(1, 1)
    optimiser.step()
    moved = [old - new.item() for old, new in zip(before, network.parameters(), strict=True)]
    assert moved == pytest.approx([0.025, 0.1], abs=1e-6)
    assert list(backbone_parameters(network)) == [network[0].body.weight]
