"""The cost of a network: parameters, and floating-point operations per image."""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, _FlopCounterMode, conv_flop_count

from mtcp.core.run_config import RunConfig
from mtcp.core.startup import call_without_compiler
from mtcp.models.architecture import Architecture, build_network


def _direct_convolution(image: Any, weight: Any, *_: Any, out_shape: Any, **__: Any) -> int:
    return conv_flop_count(image, weight, out_shape)


#: Operators that are called directly and that torch's counter does not know (`SpatialGate`).
_CALLED_DIRECTLY: Final = {torch.ops.aten._slow_conv2d_forward: _direct_convolution}


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
    call_without_compiler(_FlopCounterMode.__torch_dispatch__)
    with FlopCounterMode(display=False, custom_mapping=_CALLED_DIRECTLY) as counter:
        network.eval()(torch.zeros(1, 3, *size, device=device))
    return counter.get_total_flops() / 1e9


def _untrained(config: RunConfig) -> Architecture:
    encoder = config.encoder.model_copy(update={"pretrained": False, "weights": None})
    return build_network(config.model_copy(update={"encoder": encoder}))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
