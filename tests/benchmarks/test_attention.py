"""Coherence attention against its definition, which makes the whole map: seconds and peak memory, as ratios.

`pytest tests/benchmarks/test_attention.py -s` prints both; a GPU is used where there is one. Q and K are 512 wide, V
256, as with three tasks in the paper's network.
"""

import subprocess
import sys

import pytest
import torch

from mtcp.models.attention import unscaled_attention

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
#: Positions at 48x64, 96x128, 192x256 and 480x640.
POSITIONS = [192, 768, 3072] if DEVICE == "cpu" else [768, 3072, 19200]
DTYPES = [torch.float32] if DEVICE == "cpu" else [torch.float32, torch.bfloat16]


def definition(query, key, value):
    return (query @ key.transpose(1, 2)).softmax(-1) @ value


def inputs(positions, dtype):
    generator = torch.Generator().manual_seed(0)
    widths = (512, 512, 256)
    tensors = (0.1 * torch.randn(1, positions, width, generator=generator).relu() for width in widths)
    return [tensor.to(DEVICE, dtype).requires_grad_() for tensor in tensors]


def step(function, tensors):
    torch.autograd.grad(function(*tensors).sum(), tensors)
    if DEVICE == "cuda":
        torch.cuda.synchronize()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("form", [definition, unscaled_attention], ids=lambda form: form.__name__)
def test_forward_and_backward(benchmark, form, positions, dtype):
    benchmark.group = f"attention, {positions} positions, {dtype}, {DEVICE}"
    tensors = inputs(positions, dtype)
    benchmark.pedantic(step, args=(form, tensors), rounds=3, warmup_rounds=1)


@pytest.mark.skipif(DEVICE == "cpu", reason="no GPU")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_memory_on_a_gpu(dtype):
    """At 19,200 positions at most 320 MB beyond Q, K and V; the definition stores maps of 1.4 GiB (fp32)."""
    beyond = {}
    for form in (definition, unscaled_attention):
        tensors = inputs(19200, dtype)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(form, tensors)
        beyond[form.__name__] = (torch.cuda.max_memory_allocated() - before) / 1e6
    print(f"\n{DEVICE} {dtype}: {beyond} MB beyond the inputs")
    assert beyond["unscaled_attention"] <= 320


_CHILD = """
import sys, torch
from mtcp.core.usage import peak_memory_mb
torch.set_num_threads(1)
sys.path.insert(0, {folder!r})
from test_attention import definition, unscaled_attention, inputs, step
peak = lambda: peak_memory_mb("cpu") * 2**20 / 1e6
tensors = inputs({positions}, torch.float32)
step(definition, [tensor[:, :64].detach().requires_grad_() for tensor in tensors])
before = peak()
step({form}, tensors)
print(peak() - before)
"""


@pytest.mark.skipif(DEVICE == "cuda", reason="measured on the GPU")
def test_memory_on_a_cpu():
    """Peak of a fresh process, at 3,072 and 6,144 positions: linear growth against quadratic."""
    beyond = {}
    for form in ("definition", "unscaled_attention"):
        for positions in (3072, 6144):
            code = _CHILD.format(folder=str(__file__.rsplit("/", 1)[0]), positions=positions, form=form)
            out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            beyond[form, positions] = float(out.stdout)
    for (form, positions), value in beyond.items():
        print(f"\n{form} at {positions} positions: {value:.0f} MB beyond the inputs", end="")
    assert beyond["unscaled_attention", 6144] < 0.5 * beyond["definition", 6144]
