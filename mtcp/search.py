"""Fair tuning: every method tries the same number of configurations, drawn from a stream of its own.

Pure functions; nothing here trains. A benchmark's `budget` says how many configurations and within which ranges;
the choice among them uses losses on held-out training images alone, never the test split.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field, field_validator

from mtcp.config import Model, Name
from mtcp.errors import UserError
from mtcp.randomness import stream

Range = tuple[float, float]


class Budget(Model):
    """How many configurations each method may try, and the ranges; every range is drawn log-uniformly."""

    configurations: int = Field(ge=1, description="tried per method, the default one included")
    learning_rate: Range = (1e-4, 3e-3)
    weight_decay: Range = (1e-6, 1e-2)
    schemes: dict[Name, dict[str, Range]] = Field(
        default_factory=dict,
        description="ranges of a scheme's own parameters; `fixed: {weights: [0.1, 10]}` holds for every task's weight",
    )

    @field_validator("learning_rate", "weight_decay")
    @classmethod
    def _ordered(cls, value: Range) -> Range:
        if not 0 < value[0] <= value[1]:
            raise ValueError("a range is [low, high] with 0 < low <= high")
        return value

    @field_validator("schemes")
    @classmethod
    def _all_ordered(cls, value: dict[str, dict[str, Range]]) -> dict[str, dict[str, Range]]:
        for ranges in value.values():
            for limits in ranges.values():
                cls._ordered(limits)
        return value


@dataclass(frozen=True)
class Configuration:
    """What one trial changes: overrides of the training settings and of the scheme's parameters."""

    training: dict[str, float] = field(default_factory=dict)
    scheme: dict[str, Any] = field(default_factory=dict)


def configurations(
    budget: Budget, benchmark: str, method: str, scheme: str, tasks: Sequence[str]
) -> list[Configuration]:
    """Return the configurations that `method` tries on `benchmark`; the first changes nothing.

    Trial i is a pure function of (benchmark, method, i) and the ranges, so that a larger budget keeps the trials of
    a smaller one, and their runs.
    """
    return [Configuration()] + [
        _trial(budget, random.Random(stream(benchmark, method, "search", index)), scheme, tasks)
        for index in range(1, budget.configurations)
    ]


def _trial(budget: Budget, draws: random.Random, scheme: str, tasks: Sequence[str]) -> Configuration:
    training = {
        "learning_rate": _log_uniform(draws, budget.learning_rate),
        "weight_decay": _log_uniform(draws, budget.weight_decay),
    }
    own = {
        name: {task: _log_uniform(draws, limits) for task in tasks}
        if name == "weights"
        else _log_uniform(draws, limits)
        for name, limits in sorted(budget.schemes.get(scheme, {}).items())
    }
    return Configuration(training, own)


def _log_uniform(draws: random.Random, limits: Range) -> float:
    """Draw between the limits, rounded to three significant digits so that tables and keys stay readable."""
    low, high = map(math.log, limits)
    value = float(f"{math.exp(low + (high - low) * draws.random()):.3g}")
    return min(max(value, limits[0]), limits[1])


def best(held_out: Sequence[Mapping[str, float] | None]) -> int:
    """Return the trial with the smallest sum over tasks of held-out loss relative to that of the first that ended.

    `held_out`: per trial, the last epoch's loss of every task on held-out images; None for one that diverged. Ties
    go to the earlier trial. Raises `UserError` where every trial diverged.
    """
    first = next((losses for losses in held_out if losses is not None), None)
    if first is None:
        raise UserError("every configuration of this method's budget diverged: widen or lower the ranges in `budget`")
    scores = [
        math.inf if losses is None else sum(losses[task] / max(first[task], 1e-12) for task in first)
        for losses in held_out
    ]
    return scores.index(min(scores))
