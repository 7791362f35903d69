"""Numbers in sentences."""

from collections.abc import Sequence
from typing import Final

_DIGITS: Final = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def counted(number: int, noun: str) -> str:
    """Return `number` with its noun: 1 run, 2 runs."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(parts: Sequence[object], last: str) -> str:
    """Return `parts` as in a sentence, `last` before the last one: 6, 7 or 8."""
    *others, final = map(str, parts)
    return f"{', '.join(others)} {last} {final}" if others else final


def counted_first(number: int, noun: str) -> str:
    """The same at the beginning of a sentence: One run, Two runs, 10 runs."""
    digits, _, rest = counted(number, noun).partition(" ")
    return f"{_DIGITS[number] if number < len(_DIGITS) else digits} {rest}"
