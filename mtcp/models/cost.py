"""What a network costs: parameters, and floating-point operations of one image."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from mtcp.core.config import RunConfig
from mtcp.models.architecture import Architecture, build_network


@dataclass(frozen=True)
class Cost:
    """`parameters` in all; `gflops` of one forward pass of one image (a multiplication and an addition are two)."""

    parameters: int
    gflops: float


def cost(config: RunConfig) -> Cost:
    """Count the cost of a run's network at the benchmark's size, without weights and without data.

    The network runs on "meta" tensors, which have shapes and no values: a second at any size. Matrix products and
    convolutions are counted; everything else is small beside them.
    """
    encoder = config.encoder.model_copy(update={"pretrained": False, "weights": None})
    config = config.model_copy(update={"encoder": encoder})
    network = build_network(config)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(parameters, _flops(network, (config.height, config.width)) / 1e9 if network.trainable else 0.0)


@torch.no_grad()
def _flops(network: Architecture, size: tuple[int, int]) -> int:
    with FlopCounterMode(display=False) as counter:
        network.eval().to("meta")(torch.empty(1, 3, *size, device="meta"))
    return counter.get_total_flops()
