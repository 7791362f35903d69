"""The cost of a network: parameters, and floating-point operations per image."""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

from mtcp.core.run_config import RunConfig
from mtcp.core.startup import call_without_compiler
from mtcp.models.architecture import Architecture, build_network


def _direct_convolution(image: Tensor, weight: Tensor, *_: Any, out_val: Tensor) -> int:
    return conv_flop_count(list(image.shape), list(weight.shape), list(out_val.shape))


#: Torch's formulas, and one for an operator that `SpatialGate` calls directly: torch 2.15's own fails on its arguments.
_FORMULAS: Final = {**flop_registry, torch.ops.aten._slow_conv2d_forward: _direct_convolution}


class _Operations(TorchDispatchMode):
    """Sums the operations of all products and convolutions in `total`.

    torch's own mode also decomposes every operator without a formula, such as up-sampling, in Python: with what that
    imports, it takes up to two seconds longer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if formula := _FORMULAS.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


@dataclass(frozen=True)
class Cost:
    """`parameters` in total; `gflops` of one forward pass of one image (multiplication and addition count as two).

    `shared_...`: the part of these in the encoder that all tasks share; 0 where nothing is shared.
    """

    parameters: int
    gflops: float
    shared_parameters: int
    shared_gflops: float


def cost(config: RunConfig) -> Cost:
    """Count the cost of a run's network at the benchmark's size, without weights or data.

    The network runs on "meta" tensors, which have shapes but no values; this takes about a second at any size. Only
    matrix products and convolutions are counted. The rest is negligible, except for the scans of state space models.
    """
    network = _untrained(config).to("meta")
    shared = network.encoder
    size = (config.height, config.width)
    return Cost(
        parameters=_count(network),
        gflops=gflops(network, size),
        shared_parameters=_count(shared) if shared is not None else 0,
        shared_gflops=gflops(shared, size) if shared is not None else 0.0,
    )


@torch.no_grad()
def gflops(network: nn.Module, size: tuple[int, int]) -> float:
    """Count one forward pass of one image of (height, width), on the network's device: `Cost.gflops`.

    The count is 0 for a predictor that is not trained. Leaves the network in evaluation mode.
    """
    if isinstance(network, Architecture) and not network.trainable:
        return 0.0
    device = next(network.parameters()).device
    call_without_compiler(_Operations.__torch_dispatch__)
    with _Operations() as counted:
        network.eval()(torch.zeros(1, 3, *size, device=device))
    return counted.total / 1e9


def _untrained(config: RunConfig) -> Architecture:
    encoder = config.encoder.model_copy(update={"pretrained": False, "weights": None})
    return build_network(config.model_copy(update={"encoder": encoder}))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
