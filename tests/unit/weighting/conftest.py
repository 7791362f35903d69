"""A small network with what schemes rely on (encoder, representation, cross-task fusion), and schemes built on it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtcp.core import plugins
from mtcp.core.randomness import seeded
from mtcp.weighting.base import Scheme, SchemeContext

TASKS = ("semseg", "depth", "normals")


class Toy(nn.Module):
    """conv, BatchNorm -> R -> a decoder a task, each of which also reads the next task's decoder."""

    def __init__(self, tasks: tuple[str, ...] = TASKS, fused: bool = False) -> None:
        super().__init__()
        self.tasks, self.fused = tasks, fused
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.encoder: nn.Module | None = self.stem
        self.decoders = nn.ModuleDict({task: nn.Conv2d(4, 4, 1) for task in tasks})
        self.heads = nn.ModuleDict({task: nn.Conv2d(4, 1, 1) for task in tasks})
        self.unused = nn.Linear(2, 2)

    def encode(self, image: Tensor) -> Tensor:
        return self.stem(image)

    def decode(self, representation: Tensor) -> dict[str, dict[str, Tensor]]:
        features = {task: torch.tanh(self.decoders[task](representation)) for task in self.tasks}
        if self.fused:
            features = {task: sum(features.values()) / 3 + features[task] for task in self.tasks}
        return {task: {"final": self.heads[task](features[task])} for task in self.tasks}

    def forward(self, image: Tensor) -> dict[str, dict[str, Tensor]]:
        return self.decode(self.encode(image))


class Bench:
    """A toy network, its batches and one scheme: a training loop in small."""

    def __init__(self, name: str, fused: bool = False, tasks: tuple[str, ...] = TASKS, **given: Any) -> None:
        with seeded("toy"):
            self.network = Toy(tasks, fused)
        self.context = SchemeContext(
            tasks, 7, epochs=4, steps_per_epoch=3, size=(8, 8), network=self.network,
            validation=lambda number: self.losses(1000 + number)[0],
        )  # fmt: skip
        if name == "fixed" and not given:
            given = {"weights": {task: 1.0 + index for index, task in enumerate(tasks)}}
        options = plugins.parameters("scheme", name, given)
        self.scheme: Scheme = plugins.load("scheme", name)(self.context, options)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=0.01, weight_decay=0.0)

    def losses(self, step: int, absent: tuple[str, ...] = ()) -> tuple[dict[str, Tensor], Tensor]:
        with seeded("batch", step):
            image, targets = torch.randn(4, 3, 8, 8), torch.randn(4, len(self.context.tasks), 6, 6)
        representation = self.network.encode(image)
        outputs = self.network.decode(representation)
        losses = {
            task: (10.0**-index) * (outputs[task]["final"] - targets[:, index : index + 1]).square().mean() + 0.05
            for index, task in enumerate(self.context.tasks)
            if task not in absent
        }
        return losses, representation

    def step(self, step: int, absent: tuple[str, ...] = (), auxiliary: bool = False) -> dict[str, float]:
        losses, representation = self.losses(step, absent)
        extra = 0.5 * sum(losses.values()) ** 2 if auxiliary else None
        self.scheme.backward(losses, extra, representation, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        with torch.no_grad():
            self.scheme.close_step(lambda: self.losses(step, absent)[0])
        return {task: loss.item() for task, loss in losses.items()}

    def gradients(self, step: int = 0, scale: float = 1.0, auxiliary: bool = False, **kwargs: Any) -> dict[str, Tensor]:
        """Return the gradient of every parameter after one backward pass of the scheme."""
        losses, representation = self.losses(step, **kwargs)
        extra = 0.5 * sum(losses.values()) ** 2 if auxiliary else None
        self.scheme.backward(losses, extra, representation, scale)
        found = {n: p.grad.clone() for n, p in self.network.named_parameters() if p.grad is not None}
        self.network.zero_grad()
        return found

    def state(self) -> SimpleNamespace:
        return SimpleNamespace(
            network=self.network.state_dict(), optimiser=self.optimiser.state_dict(), scheme=self.scheme.state_dict()
        )

    def load(self, state: SimpleNamespace) -> None:
        self.network.load_state_dict(state.network)
        self.optimiser.load_state_dict(state.optimiser)
        self.scheme.load_state_dict(state.scheme)


@pytest.fixture
def bench() -> Callable[..., Bench]:
    return Bench


@pytest.fixture
def loss_scheme() -> Callable[..., Scheme]:
    """Return a maker of loss-level schemes of any number of tasks named a, b, c ..."""

    def make(name: str, tasks: int = 3, **given: Any) -> Scheme:
        names = tuple("abcdefgh"[:tasks])
        context = SchemeContext(names, 7, epochs=4, steps_per_epoch=3, size=(8, 8), network=nn.Identity())
        return plugins.load("scheme", name)(context, plugins.parameters("scheme", name, given))

    return make


@pytest.fixture
def effective() -> Callable[..., Tensor]:
    """Return the effective weights that a loss-level scheme gives to given loss values."""

    def run(scheme: Scheme, values: list[float | None]) -> Tensor:
        leaves = {
            task: torch.tensor(value, requires_grad=True)
            for task, value in zip(scheme.tasks, values, strict=True)
            if value is not None
        }
        scheme.backward(leaves, None, None, 1.0)
        return torch.stack([leaf.grad for leaf in leaves.values()])

    return run
