"""A check of what an architecture returns: the error names a faulty plug-in with its file and line."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mtcp.core.errors import UserError
from mtcp.core.tasks import Task
from mtcp.models.architecture import Architecture


def require_outputs(network: Architecture, outputs: Any, tasks: Sequence[Task], image: Tensor) -> None:
    """Raise `UserError` unless `outputs` for `image` (B, 3, H, W) has a "final" (B, channels, H, W) for every task.

    Other outputs of a task must have the same shape. The message names the plug-in, and file and line of its `decode`.
    """
    code = type(network).decode.__code__
    where = f"architecture '{network.name}', `decode` ({code.co_filename}, line {code.co_firstlineno})"
    names = [task.name for task in tasks]
    if not isinstance(outputs, Mapping) or set(outputs) != set(names):
        raise UserError(f"{where}: expected a mapping of the tasks {', '.join(names)}, got {_said(outputs)}")
    for task in tasks:
        made, expected = outputs[task.name], (len(image), task.channels, *image.shape[-2:])
        if not isinstance(made, Mapping) or "final" not in made:
            raise UserError(f"{where}: expected task '{task.name}' as a mapping with 'final', got {_said(made)}")
        for name, output in made.items():
            if not isinstance(output, Tensor) or output.shape != expected or not output.is_floating_point():
                raise UserError(
                    f"{where}: expected output '{name}' of task '{task.name}' as a float tensor {expected}, "
                    f"got {_said(output)}"
                )


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"one of {', '.join(map(str, value)) or 'nothing'}"
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__
