"""The gates under `torch.compile` with its compiler for a CPU; whole networks: `tests/benchmarks/compiled.py`."""

import copy
import shutil

import pytest
import torch

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
