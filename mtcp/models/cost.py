"""What a network costs: parameters, and floating-point operations of one image."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mtcp.core.config import RunConfig
from mtcp.models.architecture import Architecture, build_network


@dataclass(frozen=True)
class Cost:
    """`parameters` in all; `gflops` of one forward pass of one image (a multiplication and an addition are two).

    `shared_...`: of these, the encoder that all tasks share; 0 where nothing is shared.
    """

    parameters: int
    gflops: float
    shared_parameters: int
    shared_gflops: float


def cost(config: RunConfig) -> Cost:
    """Count the cost of a run's network at the benchmark's size, without weights and without data.

    The network runs on "meta" tensors, which have shapes and no values: a second at any size. Matrix products and
    convolutions are counted; everything else is small beside them, but for the scans of state space models.
    """
    network = _network(config)
    shared = network.encoder
    size = (config.height, config.width)
    return Cost(
        parameters=_count(network),
        gflops=_whole(network, size),
        shared_parameters=_count(shared) if shared is not None else 0,
        shared_gflops=_gflops(shared, size) if shared is not None else 0.0,
    )


def gflops(config: RunConfig) -> float | None:
    """Return `Cost.gflops` alone; None of a network whose steps depend on values, which "meta" tensors do not have."""
    try:
        return _whole(_network(config), (config.height, config.width))
    except RuntimeError:
        return None


def _network(config: RunConfig) -> Architecture:
    encoder = config.encoder.model_copy(update={"pretrained": False, "weights": None})
    return build_network(config.model_copy(update={"encoder": encoder}))


def _whole(network: Architecture, size: tuple[int, int]) -> float:
    return _gflops(network, size) if network.trainable else 0.0


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@torch.no_grad()
def _gflops(module: nn.Module, size: tuple[int, int]) -> float:
    with FlopCounterMode(display=False) as counter:
        module.eval().to("meta")(torch.empty(1, 3, *size, device="meta"))
    return counter.get_total_flops() / 1e9
