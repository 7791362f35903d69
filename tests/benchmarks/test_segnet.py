"""A training step of SegNet-MTAN beside a plain form, at the literature's size on a GPU and a third of it on a CPU.

`python tests/benchmarks/test_segnet.py 288 384` prints seconds and peak memory of both forms at any size, each in a
process of its own, in turns.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from plain_segnet import PlainSegNetMTAN

from mtcp.core.project import Project
from mtcp.core.usage import peak_memory_mb
from mtcp.models.architecture import build_network

ROOT = Path(__file__).resolve().parents[2]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIZE = (288, 384) if DEVICE == "cuda" else (96, 128)


class Step:
    """One network with Adam and two images of noise."""

    def __init__(self, plain: bool, size: tuple[int, int] = SIZE, width: int = 64) -> None:
        config = Project(ROOT).resolve("nyuv2_13", "segnet_equal", 0)
        config = config.model_copy(update={"height": size[0], "width": size[1], "channels": width})
        built = build_network(config).to(DEVICE).train()
        self.network = PlainSegNetMTAN(built) if plain else built
        self.image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).to(DEVICE)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=1e-4, fused=True)

    def outputs(self) -> dict[str, torch.Tensor]:
        found = self.network(self.image)
        return {task: output["final"] if isinstance(output, dict) else output for task, output in found.items()}

    def train(self) -> None:
        sum(output.square().mean() for output in self.outputs().values()).backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if DEVICE == "cuda":
            torch.cuda.synchronize()


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "mtcp"])
def test_training_step(benchmark, plain):
    benchmark.group = f"training step of SegNet-MTAN, {SIZE[0]}x{SIZE[1]}, batch 2, {DEVICE}"
    benchmark.pedantic(Step(plain).train, rounds=3, warmup_rounds=1)


def test_both_forms_are_one_function():
    ours, plain = (Step(plain, (64, 96), width=4).outputs() for plain in (False, True))
    for task, output in ours.items():
        torch.testing.assert_close(output, plain[task], rtol=1e-4, atol=1e-5)


def _measure(plain: bool, size: tuple[int, int]) -> None:
    step = Step(plain, size)
    step.train()
    started, used = time.perf_counter(), time.process_time()
    step.train()
    memory = peak_memory_mb(DEVICE) / 1024
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    print(f"{'plain' if plain else 'mtcp '}: {wall:.2f} s, {cpu:.2f} CPU s, {memory:.2f} GiB", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        _measure(sys.argv[3] == "plain", (int(sys.argv[1]), int(sys.argv[2])))
    else:
        for form in ("plain", "mtcp", "plain", "mtcp"):
            subprocess.run([sys.executable, __file__, *sys.argv[1:3], form], check=True)
