"""Rendered data sets: scenes of a preset, written in a layout of a real data set.

Everything is determined by `RenderSettings`, the image size and this package's code. Images are stored as PNG, because
JPEG decodes differently between libraries and blurs small images, and without compression, so that the bytes do not
depend on the zlib version. Depth is rounded to the millimetre, and normals are stored as float16 or 8 bits, so that
last-bit differences between processors do not change the files.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from random import Random

from mtcp.core.randomness import stream
from mtcp.core.rendered import RenderSettings
from mtcp.data.formats import packaging
from mtcp.data.rendering.camera import FOCAL
from mtcp.data.rendering.raycast import Picture, render


def scene_ids(settings: RenderSettings) -> dict[str, list[str]]:
    """Ids of both splits, numbered consecutively: {"train": ["0001", ...], "val": [...]}."""
    ids = [f"{number:04d}" for number in range(1, settings.train + settings.test + 1)]
    return {"train": ids[: settings.train], "val": ids[settings.train :]}


def picture(settings: RenderSettings, image_id: str, height: int, width: int) -> Picture:
    """Render one scene; a pure function of its arguments."""
    preset = importlib.import_module(f"mtcp.data.rendering.{settings.preset}")
    seed = stream("scene", settings.preset, settings.seed, image_id)
    return render(preset.compose(Random(seed), height, width), seed)


def render_set(
    settings: RenderSettings,
    height: int,
    width: int,
    folder: Path,
    inputs: str = "",
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Write the whole data set to the new folder `folder`; `progress` is called with the number of finished images.

    `inputs` is the digest of code and settings, recorded so that an outdated set can be detected.
    """
    preset = importlib.import_module(f"mtcp.data.rendering.{settings.preset}")
    splits = scene_ids(settings)
    for done, image_id in enumerate((image_id for ids in splits.values() for image_id in ids), start=1):
        preset.write(folder, image_id, picture(settings, image_id, height, width))
        progress(done)
    preset.write_lists(folder, splits)
    packaging.write(
        folder,
        {
            "inputs": inputs,
            "layout": preset.LAYOUT,
            "packaging": f"rendered {settings.preset}",
            "size": [height, width],
            "normals": {"source": "rendered", "z": "away"},
            "edge": {"source": "rendered"},
            "camera": {"fx": FOCAL * width, "fy": FOCAL * width, "cx": width / 2, "cy": height / 2},
            "classes": list(preset.CLASSES),
        },
    )
