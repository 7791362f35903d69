"""Signs of life of a weighting scheme: what its weights did, epoch by epoch, in plain numbers."""

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

#: A weight this many times the largest of the first step has run away.
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
    """Watches the effective weights, the derivative of what is descended with respect to each task's loss.

    `tasks` are all tasks; a step reports those present in it. Where `pairs` is on (gradient schemes) a step also
    reports the cosines between the tasks' gradients; a pair below 0 is in conflict.
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

    def observe(self, weights: dict[str, float], cosines: dict[tuple[str, str], float] | None = None) -> None:
        """Take in one step: the weight of every present task and, for gradient schemes, the cosine of every pair."""
        sizes = [abs(weight) for weight in weights.values()]
        spread = max(weights.values()) - min(weights.values())
        self.moved |= spread > EQUAL * max(sizes)
        self.negative |= min(weights.values()) < 0
        self.first = self.first or max(sizes)
        self.runaway |= max(sizes) > RUNAWAY * self.first
        for task, weight in weights.items():
            self._mean(f"weight_{task}").add(weight)
        for (one, other), cosine in (cosines or {}).items():
            self._mean(f"cosine_{one}_{other}").add(cosine)
            self._mean("conflict_share").add(float(cosine < 0))
            self.conflict |= cosine < 0

    def end_epoch(self) -> None:
        """Close the epoch: its means become the record."""
        self._last = {name: mean.value for name, mean in self._means.items()}
        self._means = {}

    def record(self) -> dict[str, float]:
        """Columns of the epoch last closed: means over the steps in which a task (or both of a pair) was present."""
        names = [f"weight_{task}" for task in self.tasks]
        if self.pairs:
            names += [f"cosine_{one}_{other}" for one, other in combinations(self.tasks, 2)] + ["conflict_share"]
        return {name: self._last.get(name, float("nan")) for name in names}

    def state(self) -> dict[str, Any]:
        """Everything needed to continue, as plain numbers."""
        return {
            "signs": [self.moved, self.negative, self.runaway, self.conflict, self.first],
            "means": {name: [mean.total, mean.count] for name, mean in self._means.items()},
            "last": dict(self._last),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self.moved, self.negative, self.runaway, self.conflict, self.first = state["signs"]
        self._means = {name: Mean(*mean) for name, mean in state["means"].items()}
        self._last = dict(state["last"])

    def _mean(self, name: str) -> Mean:
        return self._means.setdefault(name, Mean())
