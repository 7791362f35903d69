"""The optimiser of a scheme's own parameters: Adam without weight decay, at its own learning rate.

A parameter whose first dimension has the number of tasks has one row per task. The row of a task that was absent from
the whole step does not change, nor do its moments; in an ordinary optimiser, momentum would move it.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_MOMENTUM, _SQUARES, _FLOOR = 0.9, 0.999, 1e-8


class OwnAdam:
    """Adam (Kingma and Ba, ICLR 2015) on named parameters, row by row, with its state as plain tensors."""

    def __init__(self) -> None:
        self.moments: dict[str, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, parameters: Iterable[tuple[str, nn.Parameter]], rate: float, present: Tensor) -> None:
        """Update every parameter that has a gradient, and clear the gradient. `present` (T,): which tasks took part."""
        for name, parameter in parameters:
            if parameter.grad is None:
                continue
            rows = parameter.ndim > 0 and len(parameter) == len(present)
            shape = (-1,) + (1,) * (parameter.ndim - 1)
            taking_part = present.to(parameter.device).view(shape) if rows else torch.ones((), device=parameter.device)
            parameter.sub_(rate * taking_part * self._direction(name, parameter.grad, taking_part.to(parameter.dtype)))
            parameter.grad = None

    def _direction(self, name: str, gradient: Tensor, taking_part: Tensor) -> Tensor:
        if name not in self.moments:
            zeros = {key: torch.zeros_like(gradient) for key in ("first", "second")}
            self.moments[name] = {**zeros, "steps": torch.zeros_like(taking_part)}
        state = self.moments[name]
        state["steps"] += taking_part
        state["first"].lerp_(gradient, taking_part * (1 - _MOMENTUM))
        state["second"].lerp_(gradient.square(), taking_part * (1 - _SQUARES))
        steps = state["steps"].clamp(min=1)
        second = state["second"] / (1 - _SQUARES**steps)
        return state["first"] / (1 - _MOMENTUM**steps) / (second.sqrt() + _FLOOR)

    def state(self) -> dict[str, Any]:
        """Return everything needed to resume."""
        return {name: dict(state) for name, state in self.moments.items()}

    def load(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore what `state` returned."""
        self.moments = {name: {key: value.to(device) for key, value in own.items()} for name, own in state.items()}
