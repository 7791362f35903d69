"""A trained network as one TorchScript file, which runs without mtcp.

The file takes RGB in [0, 255] as float32 (1, 3, H, W) at the network's size, normalises it itself, and returns one
tensor (1, channels, H, W) per task in the network's order: class logits, metres, unnormalised normals, logits of binary
maps, as in `mtcp.core.tasks`. The file's outputs are compared with the network's before the file is put in place.
"""

import warnings
from io import BytesIO
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from mtcp.core.errors import UserError, first_sentence
from mtcp.core.files import replacing
from mtcp.core.run_config import RunConfig
from mtcp.data.loading.batches import normalised
from mtcp.models.architecture import Architecture

#: Largest allowed difference from the network, relative to the task's largest output: what rounding explains.
TOLERANCE: Final = 1e-4


class _Standalone(nn.Module):
    """Maps a photograph in [0, 255] to the final output of every task."""

    def __init__(self, network: Architecture, tasks: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.tasks = network, tasks

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(normalised(image.clone()))
        return tuple(outputs[task]["final"] for task in self.tasks)


@torch.no_grad()
def export(network: Architecture, config: RunConfig, path: Path) -> dict[str, float]:
    """Write `network` to `path`; return by task the largest relative difference from it, on an image not traced.

    Raises `UserError` where the network cannot be traced, or the file's outputs differ from the network's.
    """
    tasks = tuple(task.name for task in config.task_list)
    module = _Standalone(network.cpu().eval(), tasks).eval()
    draw = torch.Generator().manual_seed(0)
    example, other = (255 * torch.rand(1, 3, config.height, config.width, generator=draw) for _ in range(2))
    with replacing(path) as temporary:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tracing warnings: errors would show in the comparison below
                torch.jit.save(torch.jit.trace(module, example, check_trace=False), traced := BytesIO())
        except RuntimeError as error:
            raise UserError(f"the network of '{config.method}' cannot be traced: {first_sentence(error)}") from error
        temporary.write_bytes(traced.getvalue())  # torch, writing itself, aborts the process on a full disk
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`torch.jit.load` is deprecated", FutureWarning)
            loaded = torch.jit.load(str(temporary)).eval()
        found = _differences(module(other), loaded(other), tasks)
        if not torch.tensor(list(found.values())).isfinite().all():
            raise UserError(f"the network of '{config.method}' predicts NaN or infinity: nothing was written")
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
