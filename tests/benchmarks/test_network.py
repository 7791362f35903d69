"""Training and inference steps of the networks, by device and precision; without weights and without data.

On a CPU the networks of `rooms`; on a GPU those of the paper, 480x640, whose table of seconds, memory and achieved
rate, in all and by part, `python tests/benchmarks/test_network.py` prints for docs/performance.md.
"""

import subprocess
import sys
import time
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from plain import PlainMTCP
from torch.utils.flop_counter import FlopCounterMode

from mtcp.core.project import Project
from mtcp.core.usage import peak_memory_mb
from mtcp.models.architecture import build_network

ROOT = Path(__file__).resolve().parents[2]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BENCHMARK, SIZES = ("nyud", (2, 8)) if DEVICE == "cuda" else ("rooms", (8,))
PRECISIONS = ("fp32", "bf16") if DEVICE == "cuda" else ("fp32",)


class Step:
    """One network with its optimiser and a batch of noise; `plain`: in the form of plain.py."""

    def __init__(
        self, method="mtcp", name=BENCHMARK, batch=SIZES[0], precision="fp32", size=None, plain=False, **training
    ):
        config = Project(ROOT).resolve(name, method, 0)
        encoder = config.encoder.model_copy(update={"pretrained": False})
        height, width = size or (config.height, config.width)
        config = config.model_copy(
            update={
                "encoder": encoder,
                "height": height,
                "width": width,
                "training": config.training.model_copy(update=training),
            }
        )
        self.precision = precision
        self.network = build_network(config).to(DEVICE)
        if config.training.compile:
            self.network.encode = torch.compile(self.network.encode)
            self.network.decode = torch.compile(self.network.decode)
        if plain:
            self.network = PlainMTCP(self.network).to(DEVICE)
        self.image = torch.randn(batch, 3, height, width, device=DEVICE)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=5e-5, fused=True)

    def loss(self):
        with torch.autocast(DEVICE, torch.bfloat16) if self.precision == "bf16" else nullcontext():
            outputs = self.network(self.image)
        return sum(output.float().square().mean() for named in outputs.values() for output in named.values())

    def train(self):
        self.network.train()
        self.loss().backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.finish()

    @torch.no_grad()
    def infer(self):
        self.network.eval()
        self.loss()
        self.finish()

    @staticmethod
    def finish():
        if DEVICE == "cuda":
            torch.cuda.synchronize()


@pytest.mark.parametrize("kind", ["train", "infer"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("batch", SIZES)
@pytest.mark.parametrize("method", ["mtcp", "mtcp_no_cfm", "mtl_baseline", "single_task"])
def test_step(benchmark, method, batch, precision, kind):
    benchmark.group = f"{kind}, {BENCHMARK}, batch {batch}, {precision}, {DEVICE}"
    step = Step(method, batch=batch, precision=precision)
    benchmark.pedantic(getattr(step, kind), rounds=3, warmup_rounds=1)


def papers_step(plain):
    """A step of the paper's network, batch 2, fp32: at 480x640 on a GPU, 192x256 on a CPU."""
    return Step(name="nyud", batch=2, size=None if DEVICE == "cuda" else (192, 256), plain=plain)


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "mtcp"])
def test_training_step_against_the_plain_form(benchmark, plain):
    benchmark.group = f"training step of the paper's network, batch 2, fp32, {DEVICE}"
    benchmark.pedantic(papers_step(plain).train, rounds=3, warmup_rounds=2)


_CHILD = """
import sys
sys.path.insert(0, {folder!r})
from test_network import papers_step, peak_gigabytes
step = papers_step({plain})
step.train()
step.train()
print(peak_gigabytes())
"""


def test_memory_against_the_plain_form():
    """Peak of a process of its own for each form, AdamW and its moments included."""
    peaks = {}
    for plain in (True, False):
        code = _CHILD.format(folder=str(Path(__file__).parent), plain=plain)
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peaks[plain] = float(out.stdout.split()[-1])
    print(f"\npeak memory: plain {peaks[True]:.2f} GB, here {peaks[False]:.2f}, {peaks[False] / peaks[True]:.2f} of it")
    assert peaks[False] < peaks[True]


def best_of(action, rounds=5):
    """Least seconds of `rounds` calls, after two to warm up."""
    seconds = []
    for _ in range(rounds + 2):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return min(seconds[2:])


def operations():
    """Counter of floating-point operations; the library's formula for the convolution of spatial gates is broken."""
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten._slow_conv2d_forward: lambda *_, **__: 0})


def peak_gigabytes():
    """Most memory held since the last reset (GPU), or by this process so far (CPU)."""
    return peak_memory_mb(DEVICE) * 2**20 / 1e9


def table(settings):
    """Print seconds per image, images per second, peak memory and achieved rate, training and inference."""
    print("| precision | batch | compiled | step | s/image | images/s | peak GB | TFLOP/s |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for setting in settings:
        for kind in ("train", "infer"):
            with operations() as counter:
                getattr(Step(**setting | {"compile": False}), kind)()
            step = Step(**setting)
            if DEVICE == "cuda":
                torch.cuda.reset_peak_memory_stats()
            seconds = best_of(getattr(step, kind), 5 if DEVICE == "cuda" else 2) / setting["batch"]
            rate = counter.get_total_flops() / setting["batch"] / seconds / 1e12
            print(
                f"| {setting['precision']} | {setting['batch']} | {setting['compile']} | {kind} | {seconds:.4f} "
                f"| {1 / seconds:.1f} | {peak_gigabytes():.2f} | {rate:.3g} |",
                flush=True,
            )
            del step


def parts(setting):
    """Print seconds per image and achieved rate of one forward pass in training mode, by part, all tasks together."""
    step, seconds, started = Step(**setting), defaultdict(float), {}
    kinds = {f"MTCP.branches.{task}.{kind}": kind for task, own in step.network.branches.items() for kind in own}
    kinds["MTCP.encoder"] = "encoder"
    with operations() as counter:
        step.loss()
    counted = defaultdict(int)
    for name, kind in kinds.items():
        counted[kind] += sum(counter.get_flop_counts()[name].values())

        def start(module, inputs):
            step.finish()
            started[module] = time.perf_counter()

        def stop(module, inputs, outputs, kind=kind):
            step.finish()
            seconds[kind] += time.perf_counter() - started[module]

        module = step.network.get_submodule(name.removeprefix("MTCP."))
        module.register_forward_pre_hook(start)
        module.register_forward_hook(stop)
    step.loss()
    seconds.clear()
    step.loss()
    batch = setting["batch"]
    print(f"\nforward, {setting['precision']}, batch {batch}\n| part | s/image | share | TFLOP/s |\n|---|---|---|---|")
    for kind, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        share, rate = spent / sum(seconds.values()), counted[kind] / spent / 1e12
        print(f"| {kind} | {spent / batch:.4f} | {share:.0%} | {rate:.3g} |", flush=True)


def main():
    name = torch.cuda.get_device_name() if DEVICE == "cuda" else f"{torch.get_num_threads()} CPU threads"
    size = None if DEVICE == "cuda" else (192, 256)
    print(f"{name}, torch {torch.__version__}, Python {sys.version.split()[0]}, {size or '480x640'}")
    batches, compiled = ((2, 8), (False, True)) if DEVICE == "cuda" else ((2,), (False,))
    settings = [
        {"name": "nyud", "size": size, "precision": precision, "batch": batch, "compile": form}
        for precision in PRECISIONS
        for batch in batches
        for form in compiled
    ]
    table(settings)
    for setting in settings:
        if not setting["compile"]:
            parts(setting)


if __name__ == "__main__":
    main()
