"""One number for the validation losses of several tasks. No torch: planning a search uses it, too."""

from collections.abc import Mapping


def relative_score(losses: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Return the sum over tasks t of losses[t] / reference[t]: the smaller, the better.

    Relative, because the losses of different tasks have different units. A reference of zero counts as 1e-12.
    """
    return sum(value / max(reference[task], 1e-12) for task, value in losses.items())
