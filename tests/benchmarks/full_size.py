"""What one method costs at a benchmark's own size and batch: a few training steps, then one image's prediction.

    python tests/benchmarks/full_size.py nyud [METHOD] [--steps 2] [--device cpu] [--threads 1]

Run it in a project whose data set is imported; a few images are enough. The encoder starts from random values, which
cost what pre-trained ones do. Prints seconds and the peak of memory so far; nothing is written.
"""

import argparse
import time
from pathlib import Path

import torch

from mtcp.core.project import Project
from mtcp.core.startup import compute_with
from mtcp.core.usage import cpu_seconds, peak_memory_mb
from mtcp.data.loading.batches import drawn_batch, open_split
from mtcp.models.architecture import build_network
from mtcp.store.rehearsal import made_up_training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark")
    parser.add_argument("method", nargs="?", default="mtcp")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    compute_with(given.threads)
    project = Project(".")
    config = project.resolve(given.benchmark, given.method, 0)
    encoder = config.encoder.model_copy(update={"pretrained": False, "weights": None})
    config = config.model_copy(update={"encoder": encoder})
    split = open_split(config, Path("data") / project.data_name(given.benchmark), "train")
    network = build_network(config).to(given.device)
    batches = [drawn_batch(split, config, number).to(given.device) for number in range(given.steps)]
    stepper, _ = made_up_training(config, network, batches[0])
    parameters = sum(parameter.numel() for parameter in network.parameters())
    size = f"{config.height}x{config.width}, batch {config.training.batch_size}"
    print(f"{given.benchmark}/{given.method}: {size}, {parameters / 1e6:.1f} million parameters", flush=True)
    for number, batch in enumerate(batches):
        wall, cpu = time.perf_counter(), cpu_seconds()
        losses = stepper.micro_step(batch, number, boundary=True)
        said = ", ".join(f"{task} {loss:.3f}" for task, loss in losses.items())
        print(f"step {number}: {_cost(wall, cpu, given.device)}; losses {said}", flush=True)
    wall, cpu = time.perf_counter(), cpu_seconds()
    with torch.no_grad():
        network.eval()(batches[0].image[:1])
    print(f"prediction of one image: {_cost(wall, cpu, given.device)}")


def _cost(wall: float, cpu: float, device: str) -> str:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    seconds = f"{time.perf_counter() - wall:.1f} s, {cpu_seconds() - cpu:.1f} s of processors"
    return f"{seconds}, peak {peak_memory_mb(device) / 1024:.2f} GiB"


if __name__ == "__main__":
    main()
