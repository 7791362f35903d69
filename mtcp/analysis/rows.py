"""Rows of a table, one by one."""

from collections.abc import Iterator
from typing import Any

import pandas as pd


def rows_of(table: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows as named tuples. Their values have the types of their columns, which a checker cannot know."""
    yield from table.itertuples()
