"""What a command imports before it begins its work."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import importlib.util
import sys
from mtcp.core.startup import uncollected
with uncollected():
    import timm
assert not any(name.split(".")[0] == "wandb" for name in sys.modules), "imported although nothing logs to it"
import gc
assert gc.isenabled()
importlib.util.find_spec('wandb')  # raises where the block left its mark
"""


def test_timm_brings_no_logger_along() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


DEFERRED = """
import sys
import torch
from mtcp.core.startup import compiler_deferred
kept = torch.compiler.disable
with compiler_deferred():
    import timm
from mtcp.training import loop  # what a command imports besides
assert "torch._dynamo" not in sys.modules, "the compiler came along"
assert "torch._dynamo.utils" not in sys.modules and torch.compiler.disable is kept
from timm.models.naflexvit import NaFlexRopeIterator
from torchvision.ops import roi_align
box = torch.tensor([[0.0, 0, 0, 4, 4]])
assert roi_align(torch.ones(1, 1, 8, 8), box, 2).eq(1).all()
import torch._dynamo.utils
assert torch._dynamo.utils.is_compile_supported("cpu") == roi_align.__globals__["is_compile_supported"]("cpu")
assert torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(1)) == 1
"""


def test_the_compiler_is_imported_when_something_compiles() -> None:
    done = subprocess.run([sys.executable, "-c", DEFERRED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


COUNTED = """
import sys
import torch
from mtcp.models.cost import gflops
assert gflops(torch.nn.Conv2d(3, 2, 3), (4, 4)) == 2 * 4 * 2 * 27 / 1e9
assert "torch._dynamo" not in sys.modules, "the compiler came along"
assert torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(1)) == 1
"""


def test_operations_are_counted_without_the_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


STEPPED = """
import copy
import sys
import torch
from mtcp.core.run_config import TrainingConfig
from mtcp.training.optimisation import build_optimiser
kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
settings = TrainingConfig(epochs=1, batch_size=1, learning_rate=0.1, weight_decay=0.5, optimiser="KIND")
ours = torch.nn.Linear(3, 2)
theirs = copy.deepcopy(ours)
optimiser = build_optimiser(ours, settings, torch.device("cpu"))
def step(network, optimiser):
    network(torch.ones(1, 3)).square().sum().backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
step(ours, optimiser)
optimiser.load_state_dict(optimiser.state_dict())
step(ours, optimiser)
assert "torch._dynamo" not in sys.modules, "the compiler came along"
more = {"momentum": settings.momentum} if "KIND" == "sgd" else {}
plain = kinds["KIND"](theirs.parameters(), lr=0.1, weight_decay=0.5, fused=True, **more)
for _ in range(2):
    step(theirs, plain)
assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
assert torch.is_grad_enabled()
"""


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_an_optimiser_steps_without_the_compiler(kind: str) -> None:
    done = subprocess.run([sys.executable, "-c", STEPPED.replace("KIND", kind)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


KEPT = """
import resource
import torch
from mtcp.core.startup import compute_with
compute_with(1)
sizes = [(48, 1 << 16), (12, 1 << 20)]
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for count, size in sizes:
        maps = [torch.ones(size) for _ in range(count)]
        del maps
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(torch.get_num_threads(), min(faults() for _ in range(4)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc decides for itself")
def test_freed_memory_is_taken_again() -> None:
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, env=_without_malloc())
    assert done.returncode == 0, done.stderr
    threads, faults = map(int, done.stdout.split())
    assert threads == 1
    assert faults < 1500  # of 15,360 pages: a busy system may take some away


def test_a_user_says_what_malloc_keeps() -> None:
    """Nothing is set over a variable of the environment: with both, every round takes new pages."""
    said = {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, env=_without_malloc() | said)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) > 1500 or platform.libc_ver()[0] != "glibc"


def _without_malloc() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}


TRACED = """
import warnings
import torch
from mtcp.core.startup import quiet_libraries
from mtcp.models.swin import WindowAttention
quiet_libraries()
attention = torch.compile(WindowAttention(8, 2, shift=3), backend="eager")
with warnings.catch_warnings(record=True) as said:
    attention(torch.zeros(1, 8, 8, 8))
assert not said, [str(each.message) for each in said]
"""


def test_a_cached_mask_is_no_warning_when_something_compiles() -> None:
    done = subprocess.run([sys.executable, "-c", TRACED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
