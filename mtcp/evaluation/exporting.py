"""A trained network as one TorchScript file, which runs without mtcp.

The file takes RGB in [0, 255] as float32 (1, 3, H, W) at the network's size, normalises it itself, and returns one
tensor (1, channels, H, W) per task in the network's order: logits of classes, metres, unnormalised normals, logits of
binary maps, as `mtcp.core.tasks` has them. What is written is compared with the network before it takes its place.
"""

import warnings
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from mtcp.core.config import RunConfig
from mtcp.core.errors import UserError, first_sentence
from mtcp.core.files import replacing
from mtcp.data.loading.batches import normalised
from mtcp.models.architecture import Architecture

#: Largest difference to the network, relative to the largest output of the task, that rounding explains.
TOLERANCE: Final = 1e-4


class _Standalone(nn.Module):
    """Photograph in [0, 255] in, the final output of every task out."""

    def __init__(self, network: Architecture, tasks: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.tasks = network, tasks

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(normalised(image.clone()))
        return tuple(outputs[task]["final"] for task in self.tasks)


@torch.no_grad()
def export(network: Architecture, config: RunConfig, path: Path) -> dict[str, float]:
    """Write `network` to `path`; return the largest relative difference to it by task, on another image.

    Raises `UserError` where the network cannot be traced, or the file does not give what the network gives.
    """
    tasks = tuple(task.name for task in config.task_list)
    module = _Standalone(network.cpu().eval(), tasks).eval()
    draw = torch.Generator().manual_seed(0)
    example, other = (255 * torch.rand(1, 3, config.height, config.width, generator=draw) for _ in range(2))
    with replacing(path) as temporary:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of tracing: what it may get wrong is compared below
                torch.jit.save(torch.jit.trace(module, example, check_trace=False), str(temporary))
        except RuntimeError as error:
            raise UserError(f"the network of '{config.method}' cannot be traced: {first_sentence(error)}") from error
        found = _differences(module(other), torch.jit.load(str(temporary)).eval()(other), tasks)
        if (worst := max(found.values())) > TOLERANCE:
            raise UserError(
                f"the traced network of '{config.method}' differs from the network by {worst:.1e} of its largest "
                "output: nothing was written"
            )
    return found


def _differences(expected: tuple[Tensor, ...], found: tuple[Tensor, ...], tasks: tuple[str, ...]) -> dict[str, float]:
    return {
        task: ((one - two).abs().max() / one.abs().max().clamp_min(1e-12)).item()
        for task, one, two in zip(tasks, expected, found, strict=True)
    }
