"""The field's architectures so small that each is built and run in a moment."""

from typing import Any

from mtcp.core import plugins
from mtcp.core.run_config import EncoderConfig
from mtcp.core.tasks import Task, make_task
from mtcp.models.architecture import Architecture, BuildContext

SMALL = {"kind": "timm", "model": "resnet18", "args": {"channels": [8, 16, 16, 24]}}
#: Parameters of every architecture.
LITTLE = {
    "cross_stitch": {},
    "nddr": {},
    "mtan": {},
    "pad_net": {"width": 16},
    "mti_net": {},
    "atrc": {},
    "invpt": {"embedding": 16, "extra": 8},
    "mtmamba": {"states": 2, "expansion": 1},
    "mtl_baseline_light": {},
    "single_task_light": {},
}
TASKS = (make_task("semseg", classes=5), make_task("depth", bias_initialisation=2.5), make_task("normals"))


def context(
    tasks: tuple[Task, ...] = TASKS, size: tuple[int, int] = (70, 100), encoder: dict[str, Any] = SMALL
) -> BuildContext:
    """What an architecture is built from."""
    return BuildContext(
        tasks=tasks, layout="nyud", size=size, encoder=EncoderConfig(**encoder), channels=16, upsample=2, seeds=("t", 0)
    )


def build(name: str, ctx: BuildContext | None = None, **parameters: Any) -> Architecture:
    """Build the architecture `name` with other parameters than its defaults."""
    ctx = ctx or context()
    return plugins.load("architecture", name)(ctx, plugins.parameters("architecture", name, parameters))
