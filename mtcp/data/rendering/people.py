"""People and animals of capsules on a ground, with the tasks of PASCAL: classes, six body parts, a salient object.

A person is a tree of capsules with drawn proportions and joint angles: standing, walking, reaching, sitting. Clothes,
skin and fur are drawn independently of class and part, so that shape and place must tell them. The salient object is
the person, animal or thing that fills most of the picture, if it fills enough of it.
"""

import math
from pathlib import Path
from random import Random
from typing import Final

import numpy as np

from mtcp.data.formats.writing import write_array, write_ids, write_png
from mtcp.data.preparation.derive import edges_from_labels
from mtcp.data.rendering.camera import Camera
from mtcp.data.rendering.raycast import Picture
from mtcp.data.rendering.scene import CHECKS, MARBLE, PLAIN, STRIPES, Light, Material, Part, Scene
from mtcp.data.rendering.shapes import Box, Capsule, Cylinder, Plane, Shape, Vector

LAYOUT: Final = "pascal"
CLASSES: Final = ("background", "person", "dog", "horse", "bird", "ball", "chair", "bottle", "box")
_LABEL: Final = {name: k for k, name in enumerate(CLASSES)}
_HEAD, _TORSO, _UPPER_ARM, _LOWER_ARM, _UPPER_LEG, _LOWER_LEG = range(1, 7)
#: Share of the picture below which nothing in it is salient.
_SALIENT: Final = 0.02


def compose(draw: Random, height: int, width: int) -> Scene:
    """Return one scene of people, animals and things; `draw` decides everything."""
    return _Place(draw, height, width).scene()


def write(folder: Path, image_id: str, picture: Picture) -> None:
    """Write one picture in the PASCAL_MT layout; pieces below 1 are background, and no edge lies between them."""
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


class _Frame:
    """A position on the ground and a heading: bodies are built in it, x to their left, y down, z ahead."""

    def __init__(self, x: float, z: float, heading: float, size: float = 1.0) -> None:
        self.x, self.z, self.size = x, z, size
        self.c, self.s = math.cos(heading), math.sin(heading)

    def at(self, p: Vector) -> Vector:
        x, y, z = (self.size * v for v in p)
        return self.x + self.c * x + self.s * z, y, self.z - self.s * x + self.c * z

    def limb(self, start: Vector, end: Vector, radius: float) -> Capsule:
        return Capsule(self.at(start), self.at(end), self.size * radius)


def _step(start: Vector, length: float, swing: float, spread: float) -> Vector:
    """End of a limb that hangs from `start`: `swing` forward and `spread` sideways, in radians from straight down."""
    return (
        start[0] + length * math.sin(spread),
        start[1] + length * math.cos(swing) * math.cos(spread),
        start[2] + length * math.sin(swing) * math.cos(spread),
    )


class _Place:
    """A scene while it is being peopled. Ground at y = 0; the camera looks along +z from the origin."""

    def __init__(self, draw: Random, height: int, width: int) -> None:
        self.draw, self.height, self.width = draw, height, width
        self.parts: list[Part] = []
        self.pieces = 0
        self.taken: list[tuple[float, float, float]] = []

    def scene(self) -> Scene:
        draw = self.draw
        camera = Camera(
            (0.0, -draw.uniform(0.9, 1.9), 0.0), 0.0, draw.uniform(-0.35, 0.15), draw.uniform(-0.08, 0.08),
            self.height, self.width,
        )  # fmt: skip
        self._surroundings()
        builders = [self._person] * 4 + [self._dog, self._horse, self._bird, self._chair, self._small, self._small]
        self._person()
        for _ in range(1 + int(draw.random() * 3)):
            builders[int(draw.random() * len(builders))]()
        lights = [
            Light(
                (draw.uniform(-4, 4), -draw.uniform(2.5, 5.0), draw.uniform(-1, 4)), draw.uniform(1.0, 2.0),
                (1.0, draw.uniform(0.85, 1.0), draw.uniform(0.7, 1.0)),
            )
        ]  # fmt: skip
        return Scene(
            self.parts, camera, lights, ambient=draw.uniform(0.25, 0.5), exposure=draw.uniform(0.7, 1.2),
            noise=draw.uniform(0.005, 0.02),
        )  # fmt: skip

    # -- materials and places ------------------------------------------------------------------------------------

    def _material(self) -> Material:
        draw = self.draw
        grey = draw.uniform(0.08, 0.85)
        spread = draw.uniform(0.0, 0.6) * min(grey, 1 - grey)
        colour = tuple(grey + draw.uniform(-spread, spread) for _ in range(3))
        pattern = (PLAIN, PLAIN, CHECKS, STRIPES, MARBLE, MARBLE)[int(draw.random() * 6)]
        phase = tuple(draw.random() for _ in range(3))
        return Material(colour, pattern, draw.uniform(2.0, 8.0), draw.uniform(0.05, 0.35), phase)

    def _add(self, name: str, material: Material, *shapes: Shape, body_part: int = 0) -> None:
        """Add shapes to the object begun last."""
        self.parts += [Part(shape, _LABEL[name], self.pieces, material, body_part) for shape in shapes]

    def _spot(self, radius: float, nearest: float = 1.6) -> tuple[float, float] | None:
        """Find free ground of `radius` in view, near more often than far, and begin a new object there."""
        draw = self.draw
        for _ in range(12):
            z = nearest + (4.5 - nearest) * draw.random() ** 2
            x = draw.uniform(-0.55, 0.55) * z
            if all(math.hypot(x - a, z - b) > radius + r for a, b, r in self.taken):
                self.taken.append((x, z, radius))
                self.pieces += 1
                return x, z
        return None

    def _surroundings(self) -> None:
        """Ground, sky or ceiling, far walls and a few blocks behind: all background, no object."""
        draw = self.draw
        far = draw.uniform(7.5, 10.0)
        planes = [Plane(1, 0.0, -1.0), Plane(1, -draw.uniform(4.0, 6.0), 1.0), Plane(2, far, -1.0), Plane(2, -3.0, 1.0)]
        planes += [Plane(0, side * draw.uniform(5.0, 8.0), -side) for side in (-1.0, 1.0)]
        shapes: list[Shape] = list(planes)
        for _ in range(int(draw.random() * 5)):
            wide, high = draw.uniform(0.3, 1.5), draw.uniform(0.3, 2.5)
            shapes.append(
                Box((draw.uniform(-5, 5), -high / 2, far - 0.5), (wide, high / 2, 0.3), draw.uniform(-0.4, 0.4))
            )
        for k, shape in enumerate(shapes):
            self.parts.append(Part(shape, _LABEL["background"], -k, self._material()))

    # -- people --------------------------------------------------------------------------------------------------

    def _person(self) -> None:
        draw = self.draw
        if not (spot := self._spot(0.45)):
            return
        heading = draw.uniform(-math.pi, math.pi)
        frame = _Frame(*spot, heading, draw.uniform(0.75, 1.1))
        sitting = draw.random() < 0.2
        hip_y = -0.5 if sitting else -0.9
        lean = draw.uniform(-0.1, 0.25)
        hip, chest = (0.0, hip_y, 0.0), (0.0, hip_y - 0.45 * math.cos(lean), 0.45 * math.sin(lean))
        head = (0.0, chest[1] - 0.3, chest[2] + 0.04)
        skin, shirt, trousers = self._material(), self._material(), self._material()
        shoulder, girth = draw.uniform(0.17, 0.22), draw.uniform(0.12, 0.17)
        self._add("person", shirt, frame.limb(hip, chest, girth), body_part=_TORSO)
        self._add(
            "person", shirt, frame.limb((-shoulder, chest[1], chest[2]), (shoulder, chest[1], chest[2]), 0.08),
            body_part=_TORSO,
        )  # fmt: skip
        self._add("person", skin, frame.limb(head, (0, head[1] - 0.07, head[2]), 0.11), body_part=_HEAD)
        sleeve = shirt if draw.random() < 0.6 else skin
        for side in (-1.0, 1.0):
            joint = (side * (shoulder + 0.03), chest[1], chest[2])
            swing, spread = draw.uniform(-0.9, 1.8), side * draw.uniform(0.05, 1.0)
            elbow = _step(joint, 0.28, swing, spread)
            hand = _step(elbow, 0.3, swing + draw.uniform(0.0, 1.3), 0.6 * spread)
            self._add("person", shirt, frame.limb(joint, elbow, 0.055), body_part=_UPPER_ARM)
            self._add("person", sleeve, frame.limb(elbow, hand, 0.045), body_part=_LOWER_ARM)
            thigh = draw.uniform(1.2, 1.5) if sitting else draw.uniform(-0.5, 0.7)
            hip_side = (side * 0.1, hip_y, 0.0)
            knee = _step(hip_side, 0.42, thigh, side * draw.uniform(0.0, 0.2))
            shin = draw.uniform(-0.2, 0.1) if sitting else thigh - draw.uniform(0.0, 0.6)
            foot = _step(knee, 0.42, shin, 0.0)
            self._add("person", trousers, frame.limb(hip_side, knee, 0.085), body_part=_UPPER_LEG)
            self._add("person", trousers, frame.limb(knee, foot, 0.06), body_part=_LOWER_LEG)

    # -- animals and things --------------------------------------------------------------------------------------

    def _four_legged(self, name: str, size: float, leg: float, neck: Vector) -> None:
        draw = self.draw
        if not (spot := self._spot(0.5 * size, nearest=1.8)):
            return
        frame = _Frame(*spot, draw.uniform(-math.pi, math.pi), size)
        fur = self._material()
        back = -leg - 0.15
        shapes = [frame.limb((0, back, -0.4), (0, back, 0.4), 0.17)]
        head = (0.0, back + neck[1], 0.4 + neck[2])
        shapes += [frame.limb((0, back, 0.4), head, 0.09), frame.limb(head, (0, head[1] + 0.08, head[2] + 0.2), 0.09)]
        shapes.append(frame.limb((0, back - 0.05, -0.5), (0, back + draw.uniform(-0.3, 0.3), -0.75), 0.035))
        for x in (-0.1, 0.1):
            for z in (-0.38, 0.38):
                shapes.append(frame.limb((x, back, z), (x, -0.03, z + draw.uniform(-0.2, 0.2)), 0.05))
        self._add(name, fur, *shapes)

    def _dog(self) -> None:
        self._four_legged("dog", self.draw.uniform(0.5, 0.8), 0.45, (0.0, -0.2, 0.15))

    def _horse(self) -> None:
        self._four_legged("horse", self.draw.uniform(1.1, 1.5), 0.75, (0.0, -0.5, 0.25))

    def _bird(self) -> None:
        draw = self.draw
        if not (spot := self._spot(0.3)):
            return
        frame = _Frame(*spot, draw.uniform(-math.pi, math.pi), draw.uniform(0.5, 0.9))
        y = -draw.uniform(0.3, 2.5) / frame.size
        self._add(
            "bird", self._material(),
            frame.limb((0, y, -0.15), (0, y - 0.05, 0.15), 0.12),
            frame.limb((0, y - 0.15, 0.25), (0, y - 0.15, 0.25), 0.08),
            frame.limb((0, y, -0.2), (0, y, -0.45), 0.04),
            *(frame.limb((0, y, 0), (side * 0.5, y - draw.uniform(-0.2, 0.3), -0.1), 0.05) for side in (-1, 1)),
        )  # fmt: skip

    def _chair(self) -> None:
        draw = self.draw
        if not (spot := self._spot(0.35)):
            return
        heading = draw.uniform(-math.pi, math.pi)
        frame = _Frame(*spot, heading)
        wide, seat = draw.uniform(0.2, 0.28), draw.uniform(0.4, 0.5)
        shapes: list[Shape] = [
            Box(frame.at((0, -seat, 0)), (wide, 0.03, wide), -heading),
            Box(frame.at((0, -seat - 0.25, -wide)), (wide, 0.25, 0.03), -heading),
        ]
        shapes += [frame.limb((x, -seat, z), (x, 0, z), 0.03) for x in (-wide, wide) for z in (-wide, wide)]
        self._add("chair", self._material(), *shapes)

    def _small(self) -> None:
        draw = self.draw
        size = draw.uniform(0.12, 0.35)
        if not (spot := self._spot(size, nearest=1.2)):
            return
        x, z = spot
        kind = draw.random()
        if kind < 0.4:
            self._add("ball", self._material(), Capsule((x, -size, z), (x, -size, z), size))
        elif kind < 0.7:
            self._add(
                "bottle", self._material(),
                Cylinder((x, -size, z), 0.4 * size, size),
                Cylinder((x, -2.3 * size, z), 0.15 * size, 0.35 * size),
            )  # fmt: skip
        else:
            shape = Box((x, -0.8 * size, z), (size, 0.8 * size, 0.8 * size), draw.uniform(-math.pi, math.pi))
            self._add("box", self._material(), shape)
