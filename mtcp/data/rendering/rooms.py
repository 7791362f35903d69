"""Furnished rooms with the 13 classes of NYU Depth v2's coarse map, seen from a hand-held camera.

Colours and patterns are drawn independently of the class, so the class must be recognised by shape, position and
shading. Exceptions: windows and lit things shine, screens are dark, ceilings are light, walls are grey and not dark,
floors are not light. Position, direction, height and tilt of the camera, room and furniture vary. A lamp at the camera
and one under the ceiling light the room, so brightness indicates distance and slant, as with a flash.
"""

from pathlib import Path
from random import Random
from typing import Final

import numpy as np

from mtcp.data.formats.writing import write_array, write_ids, write_png
from mtcp.data.preparation.derive import edges_from_labels
from mtcp.data.rendering import furniture
from mtcp.data.rendering.raycast import Picture
from mtcp.data.rendering.room import CLASSES as CLASSES
from mtcp.data.rendering.room import Room
from mtcp.data.rendering.scene import Light, Scene

LAYOUT: Final = "nyud"


def compose(draw: Random, height: int, width: int) -> Scene:
    """Return one furnished room; `draw` decides everything."""
    room = Room(draw, height, width)
    room.shell()
    camera = room.camera()
    room.taken.append((camera.position[0], camera.position[2], 0.55))
    for _ in range(1 + int(draw.random() * 2)):
        room.hang("window", draw.uniform(0.4, 0.9), draw.uniform(0.4, 0.7), -1.5, emission=draw.uniform(0.2, 1.0))
    for _ in range(1 + int(draw.random() * 2)):
        room.hang("picture", draw.uniform(0.2, 0.55), draw.uniform(0.2, 0.45), -1.5)
    large = [furniture.bed, furniture.sofa, furniture.cabinet, furniture.cabinet, furniture.desk]
    draw.shuffle(large)
    for build in large[: 3 + int(draw.random() * 3)]:
        build(room)
    for _ in range(1 + int(draw.random() * 2)):
        furniture.dining(room)
    for _ in range(1 + int(draw.random() * 3)):
        furniture.chair(room)
    for _ in range(1 + int(draw.random() * 3)):
        furniture.thing_on_floor(room)
    ceiling = draw.uniform(-0.7, 0.7) * room.half_x, 0.25 - room.tall, draw.uniform(-0.7, 0.7) * room.half_z
    lights = [
        Light(camera.position, draw.uniform(0.8, 1.1)),
        Light(ceiling, draw.uniform(0.2, 0.7), (1.0, draw.uniform(0.85, 1.0), draw.uniform(0.7, 1.0))),
    ]
    return Scene(room.parts, camera, lights, ambient=draw.uniform(0.1, 0.2), noise=draw.uniform(0.003, 0.01))


def write(folder: Path, image_id: str, picture: Picture) -> None:
    """Write one image in the NYUD_MT layout; edges are boundaries between objects."""
    write_png(folder / f"images/{image_id}.png", picture.image)
    write_png(folder / f"segmentation/{image_id}.png", picture.label + np.uint8(1))
    write_array(folder / f"depth/{image_id}.npy", np.rint(picture.depth * 1000).astype(np.float32) / np.float32(1000))
    write_array(folder / f"normals/{image_id}.npy", picture.normals.astype(np.float16))
    write_array(folder / f"edge/{image_id}.npy", edges_from_labels(picture.piece, void=None))


def write_lists(folder: Path, splits: dict[str, list[str]]) -> None:
    """Write the split lists of the NYUD_MT layout."""
    for split, ids in splits.items():
        write_ids(folder / f"gt_sets/{split}.txt", ids)
