"""A room under construction: its shell, its free floor, and its contents."""

import math
from random import Random
from typing import Final

from mtcp.data.rendering.camera import Camera
from mtcp.data.rendering.scene import CHECKS, MARBLE, PLAIN, STRIPES, Material, Part, drawn_material
from mtcp.data.rendering.shapes import Box, Plane, Shape, Vector

CLASSES: Final = (
    "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv", "wall",
    "window",
)  # fmt: skip
_LABEL: Final = {name: k for k, name in enumerate(CLASSES)}
_PATTERNS: Final = (PLAIN, PLAIN, PLAIN, CHECKS, STRIPES, MARBLE)
#: Where a thing stands: (x, z, yaw).
Standing = tuple[float, float, float]


class Room:
    """Floor at y = 0, ceiling at y = -tall, centre at x = z = 0."""

    def __init__(self, draw: Random, height: int, width: int) -> None:
        self.draw, self.height, self.width = draw, height, width
        self.half_x, self.half_z = draw.uniform(1.1, 4.2), draw.uniform(1.1, 4.2)
        self.tall = draw.uniform(2.4, 2.8)
        self.parts: list[Part] = []
        self.pieces = 0
        #: Taken floor: circles (x, z, radius).
        self.taken: list[tuple[float, float, float]] = []

    def material(self, *, low: float = 0.2, high: float = 0.85, emission: float = 0.0) -> Material:
        """Draw a material whose grey lies between `low` and `high`."""
        return drawn_material(
            self.draw, (low, high), 0.5, _PATTERNS, frequency=(1.5, 6.0), contrast=(0.03, 0.12), emission=emission
        )

    def add(self, name: str, material: Material, *shapes: Shape) -> None:
        """Add one object of class `name` made of `shapes`."""
        self.pieces += 1
        self.parts += [Part(shape, _LABEL[name], self.pieces, material) for shape in shapes]

    def shell(self) -> None:
        """Add floor, ceiling and walls."""
        self.add("floor", self.material(high=0.7), Plane(1, 0.0, -1.0))
        self.add("ceiling", self.material(low=0.6, high=0.95), Plane(1, -self.tall, 1.0))
        walls = self.material(low=0.45, high=0.9)
        for axis, reach in ((0, self.half_x), (2, self.half_z)):
            for side in (-1.0, 1.0):
                accent = self.material(low=0.3) if self.draw.random() < 0.25 else walls
                self.add("wall", accent, Plane(axis, side * reach, -side))

    def camera(self) -> Camera:
        """Draw a camera that looks roughly at the centre."""
        draw = self.draw
        around = draw.uniform(-math.pi, math.pi)
        x = 0.75 * self.half_x * math.sin(around)
        z = 0.75 * self.half_z * math.cos(around)
        yaw = math.atan2(-x, -z) + draw.uniform(-0.7, 0.7)
        return Camera(
            (x, -draw.uniform(1.3, 1.7), z), yaw, draw.uniform(-0.9, 0.45), draw.uniform(-0.12, 0.12),
            self.height, self.width,
        )  # fmt: skip

    def free(self, x: float, z: float, radius: float) -> bool:
        """Whether a circle of floor is free."""
        return all(math.hypot(x - a, z - b) > radius + r for a, b, r in self.taken)

    def against_wall(self, wide: float, deep: float) -> Standing | None:
        """Find a place for a thing of half width `wide` and half depth `deep` with its back to a wall: (x, z, yaw)."""
        draw = self.draw
        for _ in range(12):
            wall = int(draw.random() * 4)
            yaw = wall * math.pi / 2
            out_x, out_z = (0.0, 1.0, 0.0, -1.0)[wall], (1.0, 0.0, -1.0, 0.0)[wall]
            along, reach = (self.half_x, self.half_z) if out_x == 0 else (self.half_z, self.half_x)
            if along - wide < 0.05:
                continue
            slide, back = draw.uniform(wide - along, along - wide), reach - deep - draw.uniform(0.02, 0.12)
            x, z = (slide, -out_z * back) if out_x == 0 else (-out_x * back, slide)
            if self.free(x, z, 0.8 * max(wide, deep)):
                self.taken.append((x, z, 0.8 * max(wide, deep)))
                return x, z, -yaw + draw.uniform(-0.06, 0.06)
        return None

    def in_the_open(self, radius: float) -> tuple[float, float] | None:
        """Find free floor of `radius` and take it: (x, z)."""
        draw = self.draw
        for _ in range(12):
            x = draw.uniform(-1, 1) * (self.half_x - radius)
            z = draw.uniform(-1, 1) * (self.half_z - radius)
            if self.free(x, z, radius):
                self.taken.append((x, z, radius))
                return x, z
        return None

    def hang(self, name: str, wide: float, high: float, level: float, emission: float = 0.0) -> None:
        """Hang a flat thing on a wall, with its centre at about y = `level`."""
        draw = self.draw
        wall = int(draw.random() * 4)
        along, reach = (self.half_x, self.half_z) if wall % 2 == 0 else (self.half_z, self.half_x)
        slide, side = draw.uniform(wide - along, along - wide), 1.0 if wall < 2 else -1.0
        y = level + draw.uniform(-0.25, 0.15)
        if wall % 2 == 0:
            shape = Box((slide, y, side * reach), (wide, high, 0.03))
        else:
            shape = Box((side * reach, y, slide), (0.03, high, wide))
        self.add(name, self.material(low=0.5 if emission else 0.2, emission=emission), shape)


def box(place: Standing, centre: Vector, half: Vector) -> Box:
    """A box in the frame of a thing that stands at `place` (x, z, yaw) and faces its own +z."""
    x, z, yaw = place
    c, s = math.cos(yaw), math.sin(yaw)
    return Box((x + c * centre[0] - s * centre[2], centre[1], z + s * centre[0] + c * centre[2]), half, yaw)
