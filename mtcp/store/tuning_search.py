"""Fair tuning: every method tries the same number of configurations, each drawn from its own random stream.

Pure functions; nothing is trained here. The benchmark's `budget` and the method's `search` give number and ranges. The
choice uses only losses on validation images, never the test split.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mtcp.core.config import Budget, Range
from mtcp.core.randomness import stream
from mtcp.core.run_config import PluginConfig, RunConfig
from mtcp.training.validation_score import first_finite, relative_score


@dataclass(frozen=True)
class Configuration:
    """The changes of one trial: overrides of training settings and of the scheme's parameters."""

    training: dict[str, float] = field(default_factory=dict)
    scheme: dict[str, Any] = field(default_factory=dict)

    def applied(self, config: RunConfig) -> RunConfig:
        """Return `config` with the changes."""
        return config.model_copy(
            update={
                "training": config.training.model_copy(update=self.training),
                "scheme": PluginConfig(**{**config.scheme.model_dump(), **self.scheme}),
            }
        )


def configurations(
    budget: Budget, benchmark: str, method: str, search: Mapping[str, Range], tasks: Sequence[str]
) -> tuple[Configuration, ...]:
    """Return the configurations that `method` tries on `benchmark`; the first changes nothing.

    `search`: ranges of the scheme's own parameters. Trial i is a pure function of (benchmark, method, i) and the
    ranges, so a larger budget keeps the trials of a smaller one and their runs.
    """
    drawn = (
        _trial(budget, random.Random(stream(benchmark, method, "search", index)), search, tasks)
        for index in range(1, budget.configurations)
    )
    return (Configuration(), *drawn)


def _trial(budget: Budget, draws: random.Random, search: Mapping[str, Range], tasks: Sequence[str]) -> Configuration:
    training = {
        "learning_rate": _log_uniform(draws, budget.learning_rate),
        "weight_decay": _log_uniform(draws, budget.weight_decay),
    }
    own = {
        name: {task: _log_uniform(draws, limits) for task in tasks}
        if name == "weights"
        else _log_uniform(draws, limits)
        for name, limits in sorted(search.items())
    }
    return Configuration(training, own)


def _log_uniform(draws: random.Random, limits: Range) -> float:
    """Draw between the limits, rounded to three significant digits so that tables and keys stay readable."""
    low, high = map(math.log, limits)
    value = float(f"{math.exp(low + (high - low) * draws.random()):.3g}")
    return min(max(value, limits[0]), limits[1])


def best(validation: Sequence[Mapping[str, float] | None]) -> int | None:
    """Return the trial with the smallest sum over tasks of validation losses relative to the first trial's.

    `validation`: per trial, the last epoch's loss of every task on validation images; None for a diverged trial. The
    first finite loss of a task is its reference. Ties go to the earlier trial. Returns None where every trial diverged
    or has a loss that is not finite.
    """
    reference: dict[str, float] = {}
    for losses in validation:
        reference = first_finite(reference, losses or {})
    scores = [math.inf if losses is None else relative_score(losses, reference) for losses in validation]
    return scores.index(min(scores)) if scores and min(scores) < math.inf else None
