"""Rows of a table, one by one."""

from collections.abc import Iterator
from typing import Any

import pandas as pd


def rows_of(table: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows as named tuples; a type checker cannot know the types of their values."""
    yield from table.itertuples()
