"""Allowed names of tasks."""

from keyword import iskeyword
from typing import Final

from mtcp.core.measures import CHANGES, COSTS
from mtcp.core.names import name_fault

#: Names that tables, batches and data set records use in the place of a task's name.
RESERVED: Final = frozenset(
    {
        *CHANGES, *COSTS, "multi_task", "cost", "coherence", "image",
        "layout", "packaging", "size", "camera", "classes", "accepted", "inputs", "derived",
    }
)  # fmt: skip


def task_name_fault(name: str) -> str | None:
    """Return why a task cannot have the name `name`; None if it can."""
    if problem := name_fault(name, in_code=True):
        return f"{problem}, and put the wording into `label`"
    if name in RESERVED or iskeyword(name):
        return f"'{name}' stands for something else in tables and files: choose another name"
    return None
