"""Parts of networks under `torch.compile` with its C++ compiler; whole networks: `tests/benchmarks/compiled.py`."""

import copy
import shutil

import pytest
import torch

from baselines.architectures.invpt_attention import CrossTaskAttention
from mtcp.models.cbam import CBAM


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_gates_compile_at_three_sizes() -> None:
    """Every size is another graph, or one for all sizes: maps of 48x64, 64x96 and 96x128 images at a quarter."""
    torch.manual_seed(0)
    gates = CBAM(32).train()
    compiled = torch.compile(copy.deepcopy(gates))
    for size in ((12, 16), (16, 24), (24, 32)):
        x = torch.randn(2, *size, 32, requires_grad=True)
        upstream = torch.randn(2, 32, *size).permute(0, 2, 3, 1)  # as it comes from a layer with channels first
        found = []
        for form in (gates, compiled):
            out = form(x)
            found.append((out, *torch.autograd.grad(out, (x, *form.parameters()), upstream)))
        for own, expected in zip(*reversed(found), strict=True):
            torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_pooling_over_the_edge_has_the_same_gradient() -> None:
    """Keys of InvPT on maps that its windows do not divide; in double precision, where rounding turns nothing."""
    torch.manual_seed(0)
    attention = CrossTaskAttention(["one", "other"], 4, 0).double().eval()
    compiled = torch.compile(copy.deepcopy(attention))
    gradients = []
    for form in (attention, compiled):
        x = torch.linspace(-1, 1, 2 * 2 * 3 * 5 * 4, dtype=torch.float64).sin().view(2, 2, 3, 5, 4).requires_grad_()
        form(x, None)[0].square().sum().backward()
        assert x.grad is not None
        gradients.append(x.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)
