"""One number for the validation losses of several tasks. Does not import torch: planning a search uses it as well."""

import math
from collections.abc import Mapping


def first_finite(known: Mapping[str, float], losses: Mapping[str, float]) -> dict[str, float]:
    """Return the reference losses `known`, with those of `losses` that are finite for tasks that had none yet."""
    return {**{task: loss for task, loss in losses.items() if math.isfinite(loss)}, **known}


def relative_score(losses: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Return the sum over tasks t of losses[t] / reference[t]; smaller is better, and infinite if a loss is not finite.

    The losses are taken relative to a reference because they have different units. A reference below 1e-12 counts as
    1e-12.
    """
    if not all(map(math.isfinite, losses.values())):
        return math.inf
    return sum(value / max(reference[task], 1e-12) for task, value in losses.items())
