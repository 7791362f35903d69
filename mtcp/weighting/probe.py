"""A trial of a run's scheme on a tiny network, which reveals faults of a plug-in before training."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from mtcp.core.errors import UserError, first_sentence
from mtcp.core.randomness import seeded, stream
from mtcp.core.run_config import RunConfig
from mtcp.core.startup import optimiser_without_compiler
from mtcp.weighting.base import Scheme, SchemeContext, build_scheme, own_faults_named

_SIZE: Final = (4, 4)
#: Steps of the trial, with an end of epoch after every second one; the restart, before step 3, is inside an epoch.
_STEPS, _RESTART = 5, 3


class _Network(nn.Module):
    """A shared convolution and one head per task."""

    def __init__(self, tasks: tuple[str, ...]) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 4, 1)
        self.heads = nn.ModuleDict({task: nn.Conv2d(4, 1, 1) for task in tasks})

    def forward(self, image: Tensor) -> dict[str, dict[str, Tensor]]:
        representation = torch.tanh(self.encoder(image))
        return {task: {"final": head(representation)} for task, head in self.heads.items()}


class _Trial:
    """A few steps of training with the scheme."""

    def __init__(self, config: RunConfig, root: Path | None) -> None:
        self.tasks = tuple(task.name for task in config.task_list)
        with seeded("probe"):
            self.network = _Network(self.tasks)
        epochs = config.training.epochs
        context = SchemeContext(self.tasks, stream("probe"), epochs, 2, _SIZE, self.network, validation=self.losses)
        self.scheme: Scheme = build_scheme(config, context, root)
        self.optimiser = optimiser_without_compiler(torch.optim.SGD, self.network.parameters(), lr=0.01)

    def forward(self, number: int) -> tuple[dict[str, Tensor], Tensor]:
        """Losses and representation of batch `number`."""
        with seeded("probe", number):
            image, targets = torch.randn(2, 3, *_SIZE), torch.randn(len(self.tasks), 2, 1, *_SIZE)
        representation = torch.tanh(self.network.encoder(image))
        return {
            task: (head(representation) - target).square().mean() + 0.1
            for (task, head), target in zip(self.network.heads.items(), targets, strict=True)
        }, representation

    def losses(self, number: int) -> dict[str, Tensor]:
        return self.forward(number)[0]

    def step(self, number: int) -> None:
        losses, representation = self.forward(number)
        with own_faults_named(self.scheme.at()):
            self.scheme.backward(losses, None, representation, 1.0)
            self.optimiser.step()
            self.optimiser.zero_grad()
            with torch.no_grad():
                self.scheme.close_step(lambda: self.losses(number))
            if number % 2:
                self.scheme.close_epoch()

    def state(self) -> bytes:
        saved = io.BytesIO()
        torch.save([self.network.state_dict(), self.scheme.state_dict()], saved)
        return saved.getvalue()

    def load(self, state: bytes) -> None:
        network, scheme = torch.load(io.BytesIO(state), weights_only=True)
        self.network.load_state_dict(network)
        self.scheme.load_state_dict(scheme)

    def found(self) -> list[Any]:
        return [parameter.tolist() for parameter in self.network.parameters()]


def probe_scheme(config: RunConfig, root: Path | None = None) -> None:
    """Train a tiny network with the scheme of `config` for a few steps, once without and once with a restart.

    Raises `UserError` where the scheme breaks the interface, cannot be built, saved or restored, or continues
    differently after the restart, which loses state that is not a parameter, buffer or extra state; `Diverged` where it
    diverges. `root` is as in `build_scheme`.
    """
    name = config.scheme.name
    straight, broken = _Trial(config, root), _Trial(config, root)
    for number in range(_STEPS):
        straight.step(number)
        if number == _RESTART:
            with _state_faults(name):
                state = broken.state()
                broken = _Trial(config, root)
                broken.load(state)
        broken.step(number)
    if straight.found() != broken.found():
        raise UserError(
            f"scheme '{name}': it continues differently after a restart: state is lost; keep it in "
            "buffers (`register_buffer`) or parameters, and random draws on `step_seed()`"
        )


@contextmanager
def _state_faults(name: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"scheme '{name}': its state cannot be saved and restored ({type(error).__name__}: "
            f"{first_sentence(error)}), so that an interrupted run could not go on: keep numbers, text and tensors "
            "alone, in buffers (`register_buffer`) or parameters"
        ) from error
