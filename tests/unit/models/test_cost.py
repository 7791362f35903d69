"""What a network costs: the same count wherever it runs."""

from math import prod
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mtcp.core.project import Project
from mtcp.models.architecture import build_network
from mtcp.models.cost import cost, gflops

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
METHODS = (
    "mtcp", "mtl_baseline", "single_task", "cross_stitch", "nddr", "mtan", "pad_net", "mti_net", "atrc", "invpt",
    "mtmamba", "single_task_light", "mtl_baseline_light", "libmtl_equal",
)  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_network_on_the_cpu_counts_what_shapes_alone_do(method):
    """Some layers take other kernels on a CPU, the gates even one that the library's counter cannot read."""
    config = Project(ROOT).resolve("rooms", method, 0)
    network = build_network(config)
    counted = cost(config)
    assert gflops(network, (config.height, config.width)) == pytest.approx(counted.gflops, rel=1e-9)
    assert counted.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert not network.training


def test_counts_of_known_layers():
    """A 3x3 convolution 3 -> 8 of 6x10 pixels and a product 8 -> 5 of each: 2 * 60 * 8 * 27 and 2 * 60 * 8 * 5."""

    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.product = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 5)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.product(self.convolution(image).movedim(1, -1))

    assert gflops(Layers(), (6, 10)) == (2 * 60 * 8 * 27 + 2 * 60 * 8 * 5) / 1e9


@pytest.mark.parametrize("method", ["mtcp", "invpt"])
def test_torchs_own_counter_agrees(method):
    config = Project(ROOT).resolve("rooms", method, 0)
    network = build_network(config).eval()
    theirs = FlopCounterMode(display=False, custom_mapping={torch.ops.aten._slow_conv2d_forward: _direct})
    with theirs, torch.no_grad():
        network(torch.zeros(1, 3, config.height, config.width))
    assert gflops(network, (config.height, config.width)) == theirs.get_total_flops() / 1e9


def _direct(image, weight, *_, out_shape, **__):
    return 2 * out_shape[0] * prod(weight) * prod(out_shape[2:])


def test_a_trivial_predictor_costs_nothing():
    config = Project(ROOT).resolve("rooms", "trivial_prior", 0)
    assert gflops(build_network(config), (48, 64)) == 0.0
