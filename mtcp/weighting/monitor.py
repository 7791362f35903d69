"""Monitoring of a weighting scheme: its weights and gradient diagnostics per epoch, and flags."""

import math
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

from torch import Tensor

from mtcp.weighting.diagnostics import condition_number, cosines, magnitude_similarity

#: A weight larger than this many times the largest weight of the first step has run away.
RUNAWAY: Final = 1e3
#: Weights count as equal while the largest and the smallest differ by less than this share of the largest.
EQUAL: Final = 1e-6


@dataclass
class Mean:
    """A running mean."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1

    @property
    def value(self) -> float:
        """The mean; NaN where nothing was added."""
        return self.total / self.count if self.count else float("nan")


@dataclass
class Monitor:
    """Records the effective weights: the derivative of the training objective with respect to each task's loss.

    `tasks` are all tasks; a step reports those present in it. Where `pairs` is true, every step of a gradient scheme,
    and every n-th step of the others, also reports how the tasks' gradients compare. A pair with a negative cosine is
    in conflict.
    """

    tasks: tuple[str, ...]
    pairs: bool = False
    moved: bool = False
    negative: bool = False
    runaway: bool = False
    conflict: bool = False
    first: float = 0.0
    _means: dict[str, Mean] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)

    def observe(self, weights: dict[str, float]) -> None:
        """Record one step: the weight of every present task."""
        sizes = [abs(weight) for weight in weights.values()]
        spread = max(weights.values()) - min(weights.values())
        self.moved |= spread > EQUAL * max(sizes)
        self.negative |= min(weights.values()) < 0
        self.first = self.first or max(sizes)
        self.runaway |= max(sizes) > RUNAWAY * self.first
        for task, weight in weights.items():
            self._mean(f"weight_{task}").add(weight)

    def observe_gradients(self, tasks: list[str], gramian: Tensor) -> None:
        """Record the Gramian of the present tasks' gradients on the shared parameters."""
        angles = cosines(gramian).tolist()
        for i, j in combinations(range(len(tasks)), 2):
            self._mean(f"cosine_{tasks[i]}_{tasks[j]}").add(angles[i][j])
            self._mean("conflict_share").add(float(angles[i][j] < 0))
            self.conflict |= angles[i][j] < 0
        if len(tasks) > 1:
            self._mean("magnitude_similarity").add(magnitude_similarity(gramian))
            if math.isfinite(condition := condition_number(gramian)):  # NaN where all gradients are zero
                self._mean("log_condition_number").add(math.log(condition))

    def observe_share(self, scheme: float, outside: float) -> None:
        """Record the norms of the scheme's update of the shared parameters and of the gradient that bypassed it."""
        if scheme + outside > 0:
            self._mean("scheme_share").add(scheme / (scheme + outside))

    def end_epoch(self) -> None:
        """Close the epoch: its means become the record."""
        self._last = {name: mean.value for name, mean in self._means.items()}
        self._means = {}

    def record(self) -> dict[str, float]:
        """Columns of the last closed epoch: means over the steps in which a task (or both tasks of a pair) was present.

        The condition number's mean is geometric: few steps with nearly dependent gradients would dominate the other.
        """
        names = [f"weight_{task}" for task in self.tasks] + ["scheme_share"]
        if self.pairs:
            names += [f"cosine_{one}_{other}" for one, other in combinations(self.tasks, 2)]
            names += ["conflict_share", "magnitude_similarity"]
        found = {name: self._last.get(name, float("nan")) for name in names}
        if self.pairs:
            found["condition_number"] = math.exp(self._last.get("log_condition_number", float("nan")))
        return found

    def signs(self, should_move: bool, signed: bool) -> list[str]:
        """Return the flags, given whether the weights should have moved by now and whether they may be negative."""
        raised = {
            "stayed_equal": should_move and not self.moved,
            "negative_weights": self.negative and not signed,
            "negative_by_design": self.negative and signed,
            "runaway_weights": self.runaway,
        }
        return [name for name, given in raised.items() if given]

    def state(self) -> dict[str, Any]:
        """Return everything needed to resume, as plain numbers."""
        return {
            "signs": [self.moved, self.negative, self.runaway, self.conflict, self.first],
            "means": {name: [mean.total, mean.count] for name, mean in self._means.items()},
            "last": dict(self._last),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.moved, self.negative, self.runaway, self.conflict, self.first = state["signs"]
        self._means = {name: Mean(*mean) for name, mean in state["means"].items()}
        self._last = dict(state["last"])

    def _mean(self, name: str) -> Mean:
        return self._means.setdefault(name, Mean())
