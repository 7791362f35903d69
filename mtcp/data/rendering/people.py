"""People and animals made of capsules, with the tasks of PASCAL: classes, six body parts, a salient object.

A person is a tree of capsules with random proportions and joint angles: standing, walking, reaching, sitting. Clothes,
skin and fur are drawn independently of class and part, so these must be recognised by shape and position. The salient
object is the largest person, animal or thing in the image, if it is large enough.
"""

from pathlib import Path
from random import Random
from typing import Final

import numpy as np

from mtcp.data.formats.writing import write_array, write_ids, write_png
from mtcp.data.preparation.derive import edges_from_labels
from mtcp.data.rendering import bodies
from mtcp.data.rendering.camera import Camera
from mtcp.data.rendering.ground import CLASSES as CLASSES
from mtcp.data.rendering.ground import Ground
from mtcp.data.rendering.raycast import Picture
from mtcp.data.rendering.scene import Light, Scene

LAYOUT: Final = "pascal"
#: The least share of the image that a salient object covers.
_SALIENT: Final = 0.02


def compose(draw: Random, height: int, width: int) -> Scene:
    """Return one scene of people, animals and things; `draw` decides everything."""
    ground = Ground(draw)
    camera = Camera(
        (0.0, -draw.uniform(0.9, 1.9), 0.0), 0.0, draw.uniform(-0.35, 0.15), draw.uniform(-0.08, 0.08),
        height, width,
    )  # fmt: skip
    ground.surroundings()
    builders = [bodies.person] * 4 + [bodies.dog, bodies.horse, bodies.bird, bodies.chair, bodies.small, bodies.small]
    bodies.person(ground)
    for _ in range(1 + int(draw.random() * 3)):
        builders[int(draw.random() * len(builders))](ground)
    lights = [
        Light(
            (draw.uniform(-4, 4), -draw.uniform(2.5, 5.0), draw.uniform(-1, 4)), draw.uniform(1.0, 2.0),
            (1.0, draw.uniform(0.85, 1.0), draw.uniform(0.7, 1.0)),
        )
    ]  # fmt: skip
    return Scene(
        ground.parts, camera, lights, ambient=draw.uniform(0.25, 0.5), exposure=draw.uniform(0.7, 1.2),
        noise=draw.uniform(0.005, 0.02),
    )  # fmt: skip


def write(folder: Path, image_id: str, picture: Picture) -> None:
    """Write one image in the PASCAL_MT layout; pieces below 1 are background, without edges between them."""
    label = picture.label
    objects = np.maximum(picture.piece, 0)
    sizes = np.bincount(objects.ravel())
    sizes[0] = 0
    largest = int(sizes.argmax())
    salient = (objects == largest) & (sizes[largest] >= _SALIENT * label.size)
    normals = np.rint((picture.normals + 1) * np.float32(127.5)).astype(np.uint8)
    write_png(folder / f"JPEGImages/{image_id}.png", picture.image)
    write_png(folder / f"semseg/VOC12/{image_id}.png", label)
    write_png(folder / f"human_parts/{image_id}.png", picture.body_part)
    write_png(folder / f"sal_distill/{image_id}.png", salient.astype(np.uint8) * np.uint8(255))
    write_png(folder / f"normals_distill/{image_id}.png", normals)
    write_array(folder / f"edge/{image_id}.npy", edges_from_labels(objects, void=None))


def write_lists(folder: Path, splits: dict[str, list[str]]) -> None:
    """Write the split lists of the PASCAL_MT layout."""
    for split, ids in splits.items():
        write_ids(folder / f"ImageSets/Context/{split}.txt", ids)
