"""InvPT's attention and MTMamba's scan against their definitions, every architecture's step against a plain form.

`pytest tests/benchmarks/test_architectures.py -s` prints ratios of processor time and of kept memory for
docs/architectures.md. Memory is what autograd keeps between forward and backward pass.
"""

import copy
import functools
import statistics
import time
from contextlib import nullcontext
from unittest import mock

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn import functional as F

from baselines.architectures import scan_block
from baselines.architectures.invpt_attention import CrossTaskAttention
from baselines.architectures.selective_scan import selective_scan
from mtcp.core.project import Project
from mtcp.models.architecture import build_network
from mtcp.models.encoders import TimmMaps
from mtcp.models.layers import Projection, at_size
from mtcp.models.normalisation import BatchNorm2d

TASKS = ["semseg", "depth", "normals"]
ROWS = (
    "mtl_baseline_light",
    "single_task_light",
    "cross_stitch",
    "nddr",
    "mtan",
    "pad_net_small",
    "mti_net_small",
    "atrc",
    "invpt_small",
    "mtmamba_small",
)


def kept(run):
    """Return the megabytes that autograd keeps for the backward pass of `run()`."""
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(storages.values()) / 1e6


def seconds(*runs, rounds=5):
    """Median processor time of every function, in turns, after one round to warm up."""
    times = [[] for _ in runs]
    for _ in range(rounds + 1):
        for run, taken in zip(runs, times, strict=True):
            started = time.process_time()
            run()
            taken.append(time.process_time() - started)
    return [statistics.median(taken[1:]) for taken in times]


def defined_attention(module, x, before):
    """`CrossTaskAttention` by its definition: maps of scores are made, resized and fused."""
    maps = [level.permute(0, 3, 1, 2) for level in x.unbind(1)]
    queries = torch.stack([getattr(module, task)(level) for task, level in zip(module.tasks, maps, strict=True)], 1)
    size, half = queries.shape[-2:], module.width // 2
    query = module.query(queries.permute(0, 1, 3, 4, 2).flatten(1, 3))
    pooled = F.avg_pool2d(x.flatten(0, 1).permute(0, 3, 1, 2), module.pool, ceil_mode=True)
    tokens = pooled.permute(0, 2, 3, 1).reshape(len(x), -1, module.width)
    key, value = module.key(tokens), module.value(tokens)
    scores = torch.stack(
        [q @ k.transpose(1, 2) for q, k in zip(query.split(half, -1), key.split(half, -1), strict=True)], 1
    )
    scores = scores * module.width**-0.5
    if before is not None:
        earlier, earlier_size = before
        batch, heads, _, keys = earlier.shape
        picture = earlier.view(batch, heads, len(module.tasks), *earlier_size, keys).permute(0, 1, 2, 5, 3, 4)
        resized = at_size(picture.reshape(-1, keys, *earlier_size), size).view(*picture.shape[:4], *size)
        resized = resized.permute(0, 1, 2, 4, 5, 3).reshape(batch, heads, -1, keys)
        scores = module.fuse(torch.cat((scores, resized), 1))
    heads = [s.softmax(-1) @ v for s, v in zip(scores.unbind(1), value.split(half, -1), strict=True)]
    out = module.out(torch.cat(heads, -1)).view(len(x), len(module.tasks), *size, -1)
    back = at_size(out.flatten(0, 1).permute(0, 3, 1, 2), x.shape[2:4]).permute(0, 2, 3, 1)
    return back.unflatten(0, x.shape[:2]), (scores, size)


@pytest.mark.parametrize("height", [8, 15, 30])
def test_cross_task_attention(height):
    """Three stages on maps of height x 4/3 height at 1/32: 15 is 480x640."""
    torch.manual_seed(0)
    width = -(-height * 4 // 3)
    stages = [CrossTaskAttention(TASKS, dim, index) for index, dim in enumerate((128, 64, 32))]
    inputs = [
        torch.randn(1, 3, height * 2**index, width * 2**index, dim, requires_grad=True)
        for index, dim in enumerate((128, 64, 32))
    ]

    def run(form, backward=True):
        total, before = 0.0, None
        for stage, x in zip(stages, inputs, strict=True):
            out, before = form(stage, x, before)
            total = total + out.square().sum()
        if backward:
            torch.autograd.grad(total, inputs)
        return total

    own = lambda stage, x, before: stage(x, before)  # noqa: E731
    torch.testing.assert_close(run(own, False), run(defined_attention, False), rtol=1e-3, atol=1e-2)
    ours, plain = seconds(lambda: run(own), lambda: run(defined_attention))
    memory = kept(lambda: run(own, False)), kept(lambda: run(defined_attention, False))
    print(
        f"\n{height * 32}x{width * 32}: time {ours / plain:.2f} of the definition's, "
        f"kept {memory[0]:.1f} MB, definition {memory[1]:.1f} MB"
    )


def one_after_another(x, dt, decay, b, c):
    state, out = 0.0, []
    for position in range(len(x)):
        state = (dt[position][..., None] * decay).exp() * state
        state = state + (dt[position] * x[position])[..., None] * b[position][:, None]
        out.append((state * c[position][:, None]).sum(-1))
    return torch.stack(out)


@pytest.mark.parametrize("length", [192, 768, 3072])
def test_selective_scan(length):
    """Sequences of 12x16, 24x32 and 48x64 positions, four directions of one image, 32 entries, 8 states."""
    torch.manual_seed(0)
    arguments = [torch.randn(length, 4, 32), torch.rand(length, 4, 32), -torch.rand(4, 32, 8) - 0.1]
    arguments = [value.requires_grad_() for value in (*arguments, *torch.randn(2, length, 4, 8))]

    def run(form):
        torch.autograd.grad(form(*arguments).square().sum(), arguments)

    ours, plain = seconds(lambda: run(selective_scan), lambda: run(one_after_another), rounds=3)
    memory = kept(lambda: selective_scan(*arguments)), kept(lambda: one_after_another(*arguments))
    print(
        f"\n{length} positions: time {ours / plain:.2f} of one position after another, "
        f"kept {memory[0]:.1f} MB, there {memory[1]:.1f} MB"
    )
    assert memory[0] < memory[1]


def plain_form(network):
    """The same function with the library's layers as they are, channels first, and the definitions above.

    What is between the layers is written in the usual way already. Returns the network and what to enter around a step.
    """
    plain = copy.deepcopy(network)
    for module in plain.modules():
        if isinstance(module, BatchNorm2d):
            module.__class__ = BatchNormAct2d if isinstance(module, BatchNormAct2d) else nn.BatchNorm2d
        elif isinstance(module, Projection):
            module.__class__ = nn.Linear
        elif isinstance(module, TimmMaps):
            module.prepared = module.normalise
        elif isinstance(module, CrossTaskAttention):
            module.forward = functools.partial(defined_attention, module)
    scans = any(isinstance(module, scan_block.Core) for module in plain.modules())
    around = functools.partial(mock.patch.object, scan_block, "selective_scan", one_after_another)
    return plain.to(memory_format=torch.contiguous_format), around if scans else nullcontext


@pytest.mark.parametrize("size", [(48, 64), (96, 128)])
def test_training_steps(size):
    """A step of every row of the grid, batch 4, in turns with its plain form; the first row's own step is 1."""
    project, first = Project("."), None
    image = torch.randn(4, 3, *size)

    def step(network, around=nullcontext):
        with around():
            outputs = network(image)
            sum(x.square().mean() for named in outputs.values() for x in named.values()).backward()
        network.zero_grad()

    for row in ROWS:
        network = build_network(project.resolve("architectures", row, 0))
        plain, around = plain_form(network)
        with around():
            for task, named in plain.eval()(image).items():
                for name, output in network.eval()(image)[task].items():
                    torch.testing.assert_close(output, named[name], rtol=1e-3, atol=1e-4)
        network.train(), plain.train()
        ours, theirs = seconds(lambda: step(network), lambda: step(plain, around), rounds=3)  # noqa: B023
        first = first or ours
        print(f"\n{row:20s} {ours / theirs:5.2f} of its plain form, {ours / first:5.2f} ({ours * 1e3:.0f} ms)", end="")
