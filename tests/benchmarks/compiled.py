"""Does every method train under `training.compile`? Two steps of each against the same steps not compiled.

    python tests/benchmarks/compiled.py [--backend NAME] [--size 48x64]... [METHOD...]

Without names all methods of config/methods.yaml, and three sizes, on two of the rooms' tasks: four would take twice as
long to compile and have the same parts. Methods of one network go one after the other and share its graphs. A row says
how far the parameters' changes are apart after two steps of plain gradient descent on made-up images: beyond what
float32 resolves, and as a share of the largest change of the tensor. Gradient schemes must be refused in one sentence.
Two steps of some networks turn on rounding: what is further off than 0.01 is decided in double precision, where only
a true difference remains. Dropout layers are off, since compiled ones draw other noise. `inductor`, the default, is
what a run takes; `aot_eager_decomp_partition` traces, differentiates and splits the same graphs without compiling them
to C++, which takes minutes a network, `eager` traces them alone. Ends with status 1 where a method fails, or is
further off than 1e-5 in double precision.
"""

import argparse
import sys
import time
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.run_config import EncoderConfig, RunConfig
from mtcp.data.loading.batches import Batch
from mtcp.models.architecture import build_network
from mtcp.store.rehearsal import made_up, made_up_training

SIZES = ("48x64", "64x96", "96x128")
#: As narrow as architectures take it, but wide enough for the blocked layouts that compilers choose.
ENCODER = EncoderConfig(kind="timm", model="resnet10t", args={"channels": [8, 8, 16, 16], "stem_width": 8})
CHANNELS = 32
TASKS = ("semseg", "normals")
#: Largest differences of two steps that need no explanation: rounding makes more in some networks in float32 alone.
FAR = {torch.float32: 0.01, torch.float64: 1e-5}


def configured(project: Project, method: str, size: str) -> RunConfig:
    """The method on two of the rooms' tasks at `size`, trained by gradient descent, smooth in the gradients."""
    config = project.resolve("rooms", method, 0)
    tasks = {name: config.tasks[name] for name in TASKS}
    height, width = map(int, size.split("x"))
    training = config.training.model_copy(update={"optimiser": "sgd", "momentum": 0.0, "learning_rate": 0.01})
    scheme = config.scheme
    if weights := (scheme.model_extra or {}).get("weights"):
        scheme = scheme.model_copy(update={"weights": {name: weights[name] for name in TASKS}})
    change = {"height": height, "width": width, "channels": CHANNELS, "encoder": ENCODER, "validation_share": 0.1}
    return config.model_copy(update=change | {"training": training, "tasks": tasks, "scheme": scheme})


def batch_in(dtype: torch.dtype, config: RunConfig) -> Batch:
    """The made-up batch in floating-point numbers of `dtype`."""
    batch = made_up(config)
    targets = {name: value.to(dtype) if value.is_floating_point() else value for name, value in batch.targets.items()}
    return replace(batch, image=batch.image.to(dtype), targets=targets)


def trained(config: RunConfig, compiled: bool, dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters before two steps in `dtype`, and after them."""
    config = config.model_copy(update={"training": config.training.model_copy(update={"compile": compiled})})
    network = build_network(config).train().to(dtype)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # a compiled one draws other noise
    before = [parameter.detach().clone() for parameter in network.parameters()]
    batch = batch_in(dtype, config)
    stepper, _ = made_up_training(config, network, batch)
    for number in range(2):
        stepper.micro_step(batch, number, boundary=True)
    return before, [parameter.detach() for parameter in network.parameters()]


def distance(own: list[Tensor], expected: list[Tensor], before: list[Tensor]) -> float:
    """Largest difference of the changes, as a share of the largest change of the tensor.

    A bias in front of a batch normalisation has no gradient but rounding: two units in its last place do not count.
    """
    shares = []
    for value, target, start in zip(own, expected, before, strict=True):
        beyond = (value - target).abs() - 2 * torch.finfo(value.dtype).eps * target.abs()
        shares.append(float(beyond.max().clamp_min(0) / (target - start).abs().max().clamp_min(1e-6)))
    return max(shares)


def judged(config: RunConfig) -> tuple[str, bool]:
    """How far the compiled form is from the plain one, in words, and whether that is too far."""
    said = []
    for dtype, far in FAR.items():
        before, plain = trained(config, compiled=False, dtype=dtype)
        apart = distance(trained(config, compiled=True, dtype=dtype)[1], plain, before)
        said.append(f"{apart:.1e}")
        if apart <= far:
            return ", in double precision ".join(said), False
    return ", in double precision ".join(said), True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="inductor")
    parser.add_argument("--size", action="append")
    parser.add_argument("methods", nargs="*")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.compile = partial(torch.compile, backend=given.backend)
    project, wrong = Project("."), 0
    every = [name for name, method in project.methods.items() if method.family != "trivial"]
    for size in given.size or SIZES:
        network = None
        for method in sorted(given.methods or every, key=lambda name: str(project.methods[name].architecture)):
            if project.methods[method].architecture != network:
                torch.compiler.reset()  # graphs of other sizes would make these ones of any size
                network = project.methods[method].architecture
            started = time.process_time()
            try:
                said, too_far = judged(configured(project, method, size))
                said += " TOO FAR" if too_far else ""
            except UserError as error:
                said = f"refused: {error}" if "several backward passes" in str(error) else f"FAILED: {error}"
            except Exception as error:
                said = f"FAILED: {type(error).__name__}: {error}"
            wrong += "FAILED" in said or "TOO FAR" in said
            print(f"{method:28} {size:>7} {time.process_time() - started:6.1f} s  {said}", flush=True)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
