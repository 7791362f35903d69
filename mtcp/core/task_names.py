"""What a task may be called."""

import re
from keyword import iskeyword
from typing import Final

from mtcp.core.measures import CHANGES, COSTS

#: What stands where a task's name would in tables, in batches, and in the record of a data set.
RESERVED: Final = frozenset(
    {
        *CHANGES, *COSTS, "multi_task", "cost", "coherence", "image",
        "layout", "packaging", "size", "camera", "classes", "accepted", "inputs", "derived",
    }
)  # fmt: skip


def name_fault(name: str) -> str | None:
    """Say why a task cannot be called `name`; None where it can."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        return f"'{name}' is not a task's name: use [a-z][a-z0-9_]* and put the wording into `label`"
    if name in RESERVED or iskeyword(name):
        return f"'{name}' stands for something else in tables and files: choose another name"
    return None
