"""Scheme parameters that name tasks."""

from mtcp.core.errors import UserError
from mtcp.weighting.base import Scheme


def require_task(scheme: Scheme, parameter: str, task: str) -> None:
    """Raise `UserError` where `parameter` names a task that the benchmark does not have."""
    if task not in scheme.tasks:
        raise UserError(
            f"scheme '{scheme.name}', parameter '{parameter}': '{task}' is none of the tasks {', '.join(scheme.tasks)}"
        )


def numbers_by_task(scheme: Scheme, parameter: str, default: float) -> list[float]:
    """Return the T values that `parameter` gives per task, in the tasks' order; `default` where it has none."""
    given: dict[str, float] = getattr(scheme.options, parameter) or {}
    for task in given:
        require_task(scheme, parameter, task)
    return [given.get(task, default) for task in scheme.tasks]
