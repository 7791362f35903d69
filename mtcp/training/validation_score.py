"""One number for the validation losses of several tasks. Does not import torch: planning a search uses it as well."""

from collections.abc import Mapping


def relative_score(losses: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Return the sum over tasks t of losses[t] / reference[t]; smaller is better.

    The losses are taken relative to a reference because they have different units. A reference below 1e-12 counts as
    1e-12.
    """
    return sum(value / max(reference[task], 1e-12) for task, value in losses.items())
