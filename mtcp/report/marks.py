"""Marks after a method's name and their meaning: † signs of trouble, ‡ seeds without results."""

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd

from mtcp.core.tasks import UNTRAINED

FLAG_MARK: Final = " †"
GAP_MARK: Final = " ‡"
#: The meaning of each flag; those in _NOTES are not signs of trouble and get no mark.
_FLAGS: Final = {
    "stayed_equal": "weights stayed equal although they should have moved",
    "negative_weights": "negative weights, with which a task's loss is ascended",
    "runaway_weights": "weights ran away to 1000 times their first size",
    "weights_far_from_optimum": "learned weights ended a factor of 2 or more away from their optimum",
    "never_acted": "the run ended before the scheme's own rule began, so that this is its warm-up",
    "non_finite_predictions": "predictions that are not finite",
    "negative_by_design": "some weights were negative, as the scheme's solution allows",
}
_NOTES: Final = {"negative_by_design"}


def mark(row: Any) -> str:
    """Return the marks after a method's name: † signs of trouble, ‡ seeds without results."""
    return (FLAG_MARK if flags(row) - _NOTES else "") + (GAP_MARK if row.finished < row.seeds else "")


def flags(row: Any) -> set[str]:
    """Return the flags of a method's runs."""
    return set(row.flags.split(";")) - {""} if isinstance(row.flags, str) else set()


def _in_words(flag: str) -> str:
    if flag.startswith(UNTRAINED):
        return f"{flag.removeprefix(UNTRAINED)} was never trained (no valid pixel, or no gradient)"
    return _FLAGS.get(flag, flag.replace("_", " "))


def legend(methods: pd.DataFrame) -> Iterator[str]:
    """Yield the meaning of the methods' marks."""
    for row in methods.itertuples():
        for sign, raised in (("† ", flags(row) - _NOTES), ("", flags(row) & _NOTES)):
            if raised:
                words = map(_in_words, sorted(raised))
                yield f"{sign}{row.label}: {', '.join(words)}"
    for row in methods[methods.finished < methods.seeds].itertuples():
        yield f"‡ {row.label}: {row.finished} of {row.seeds} seeds have numbers ({row.reasons})"
