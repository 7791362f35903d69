"""Furnished rooms with the 13 classes of NYU Depth v2's coarse map, from a camera held by a person.

Colours and patterns are drawn independently of the class (windows shine, screens are dark, ceilings are light), so
that shape, place and shading must tell it. Position, direction, height, lens tilt, room and furniture vary. A lamp at
the camera and one under the ceiling light the room, so that brightness hints at distance and slant, as a flash does.
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

CLASSES: Final = (
    "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv", "wall",
    "window",
)  # fmt: skip
LAYOUT: Final = "nyud"
_LABEL: Final = {name: k for k, name in enumerate(CLASSES)}


def compose(draw: Random, height: int, width: int) -> Scene:
    """Return one furnished room; `draw` decides everything."""
    return _Room(draw, height, width).scene()


def write(folder: Path, image_id: str, picture: Picture) -> None:
    """Write one picture in the NYUD_MT layout; an edge is where one object ends before another."""
    write_png(folder / f"images/{image_id}.png", picture.image)
    write_png(folder / f"segmentation/{image_id}.png", picture.label + np.uint8(1))
    write_array(folder / f"depth/{image_id}.npy", np.rint(picture.depth * 1000).astype(np.float32) / np.float32(1000))
    write_array(folder / f"normals/{image_id}.npy", picture.normals.astype(np.float16))
    write_array(folder / f"edge/{image_id}.npy", edges_from_labels(picture.piece, void=None))


def write_lists(folder: Path, splits: dict[str, list[str]]) -> None:
    """Write the split lists of the NYUD_MT layout."""
    for split, ids in splits.items():
        write_ids(folder / f"gt_sets/{split}.txt", ids)


class _Room:
    """A room while it is being furnished. Floor at y = 0, ceiling at y = -tall, centre at x = z = 0."""

    def __init__(self, draw: Random, height: int, width: int) -> None:
        self.draw, self.height, self.width = draw, height, width
        self.half_x, self.half_z = draw.uniform(1.1, 4.2), draw.uniform(1.1, 4.2)
        self.tall = draw.uniform(2.4, 2.8)
        self.parts: list[Part] = []
        self.pieces = 0
        #: Taken floor: circles (x, z, radius).
        self.taken: list[tuple[float, float, float]] = []

    def scene(self) -> Scene:
        draw = self.draw
        self._shell()
        camera = self._camera()
        self.taken.append((camera.position[0], camera.position[2], 0.55))
        for _ in range(1 + int(draw.random() * 2)):
            self._hang("window", draw.uniform(0.4, 0.9), draw.uniform(0.4, 0.7), -1.5, emission=draw.uniform(0.2, 1.0))
        for _ in range(1 + int(draw.random() * 2)):
            self._hang("picture", draw.uniform(0.2, 0.55), draw.uniform(0.2, 0.45), -1.5)
        large = [self._bed, self._sofa, self._cabinet, self._cabinet, self._desk]
        draw.shuffle(large)
        for build in large[: 3 + int(draw.random() * 3)]:
            build()
        for _ in range(1 + int(draw.random() * 2)):
            self._dining()
        for _ in range(1 + int(draw.random() * 3)):
            self._chair_somewhere()
        for _ in range(1 + int(draw.random() * 3)):
            self._thing_on_floor()
        ceiling = draw.uniform(-0.7, 0.7) * self.half_x, 0.25 - self.tall, draw.uniform(-0.7, 0.7) * self.half_z
        lights = [
            Light(camera.position, draw.uniform(0.8, 1.1)),
            Light(ceiling, draw.uniform(0.2, 0.7), (1.0, draw.uniform(0.85, 1.0), draw.uniform(0.7, 1.0))),
        ]
        return Scene(self.parts, camera, lights, ambient=draw.uniform(0.1, 0.2), noise=draw.uniform(0.003, 0.01))

    # -- materials -----------------------------------------------------------------------------------------------

    def _material(self, *, low: float = 0.2, high: float = 0.85, emission: float = 0.0) -> Material:
        draw = self.draw
        grey = draw.uniform(low, high)
        spread = draw.uniform(0.0, 0.5) * min(grey, 1 - grey)
        colour = tuple(grey + draw.uniform(-spread, spread) for _ in range(3))
        pattern = (PLAIN, PLAIN, PLAIN, CHECKS, STRIPES, MARBLE)[int(draw.random() * 6)]
        phase = tuple(draw.random() for _ in range(3))
        return Material(colour, pattern, draw.uniform(1.5, 6.0), draw.uniform(0.03, 0.12), phase, emission)

    def _add(self, name: str, material: Material, *shapes: Shape) -> None:
        """Add one object of class `name` made of `shapes`."""
        self.pieces += 1
        self.parts += [Part(shape, _LABEL[name], self.pieces, material) for shape in shapes]

    # -- shell and camera ----------------------------------------------------------------------------------------

    def _shell(self) -> None:
        self._add("floor", self._material(high=0.7), Plane(1, 0.0, -1.0))
        self._add("ceiling", self._material(low=0.6, high=0.95), Plane(1, -self.tall, 1.0))
        walls = self._material(low=0.45, high=0.9)
        for axis, reach in ((0, self.half_x), (2, self.half_z)):
            for side in (-1.0, 1.0):
                accent = self._material(low=0.3) if self.draw.random() < 0.25 else walls
                self._add("wall", accent, Plane(axis, side * reach, -side))

    def _camera(self) -> Camera:
        draw = self.draw
        around = draw.uniform(-math.pi, math.pi)
        x = 0.75 * self.half_x * math.sin(around)
        z = 0.75 * self.half_z * math.cos(around)
        yaw = math.atan2(-x, -z) + draw.uniform(-0.7, 0.7)
        return Camera(
            (x, -draw.uniform(1.3, 1.7), z), yaw, draw.uniform(-0.9, 0.45), draw.uniform(-0.12, 0.12),
            self.height, self.width,
        )  # fmt: skip

    # -- placing -------------------------------------------------------------------------------------------------

    def _free(self, x: float, z: float, radius: float) -> bool:
        return all(math.hypot(x - a, z - b) > radius + r for a, b, r in self.taken)

    def _against_wall(self, wide: float, deep: float) -> tuple[float, float, float] | None:
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
            if self._free(x, z, 0.8 * max(wide, deep)):
                self.taken.append((x, z, 0.8 * max(wide, deep)))
                return x, z, -yaw + draw.uniform(-0.06, 0.06)
        return None

    def _in_the_open(self, radius: float) -> tuple[float, float] | None:
        draw = self.draw
        for _ in range(12):
            x = draw.uniform(-1, 1) * (self.half_x - radius)
            z = draw.uniform(-1, 1) * (self.half_z - radius)
            if self._free(x, z, radius):
                self.taken.append((x, z, radius))
                return x, z
        return None

    @staticmethod
    def _box(place: tuple[float, float, float], centre: Vector, half: Vector) -> Box:
        """A box given in the frame of a thing that stands at `place` (x, z, yaw) and faces its own +z."""
        x, z, yaw = place
        c, s = math.cos(yaw), math.sin(yaw)
        return Box((x + c * centre[0] - s * centre[2], centre[1], z + s * centre[0] + c * centre[2]), half, yaw)

    def _hang(self, name: str, wide: float, high: float, level: float, emission: float = 0.0) -> None:
        draw = self.draw
        wall = int(draw.random() * 4)
        along, reach = (self.half_x, self.half_z) if wall % 2 == 0 else (self.half_z, self.half_x)
        slide, side = draw.uniform(wide - along, along - wide), 1.0 if wall < 2 else -1.0
        y = level + draw.uniform(-0.25, 0.15)
        if wall % 2 == 0:
            shape = Box((slide, y, side * reach), (wide, high, 0.03))
        else:
            shape = Box((side * reach, y, slide), (0.03, high, wide))
        self._add(name, self._material(low=0.5 if emission else 0.2, emission=emission), shape)

    # -- furniture -----------------------------------------------------------------------------------------------

    def _bed(self) -> None:
        draw = self.draw
        wide, long, top = draw.uniform(0.5, 0.9), draw.uniform(0.95, 1.1), draw.uniform(0.4, 0.6)
        if place := self._against_wall(wide, long):
            self._add(
                "bed", self._material(),
                self._box(place, (0, -top / 2, 0), (wide, top / 2, long)),
                self._box(place, (0, -top / 2 - 0.25, 0.04 - long), (wide, top / 2 + 0.25, 0.05)),
            )  # fmt: skip
            self._add("bed", self._material(), self._box(place, (0, -top - 0.06, 0.35 - long), (0.7 * wide, 0.07, 0.2)))

    def _sofa(self) -> None:
        draw = self.draw
        wide, deep, seat = draw.uniform(0.7, 1.1), draw.uniform(0.4, 0.5), draw.uniform(0.38, 0.48)
        if place := self._against_wall(wide, deep):
            back = draw.uniform(0.75, 0.95)
            self._add(
                "sofa", self._material(),
                self._box(place, (0, -seat / 2, 0), (wide, seat / 2, deep)),
                self._box(place, (0, -back / 2, 0.1 - deep), (wide, back / 2, 0.12)),
                self._box(place, (0.1 - wide, -0.31, 0), (0.1, 0.31, deep)),
                self._box(place, (wide - 0.1, -0.31, 0), (0.1, 0.31, deep)),
            )  # fmt: skip

    def _cabinet(self) -> None:
        draw = self.draw
        wide, deep, high = draw.uniform(0.35, 0.8), draw.uniform(0.2, 0.35), draw.uniform(0.7, 2.0)
        if place := self._against_wall(wide, deep):
            self._add("furniture", self._material(), self._box(place, (0, -high / 2, 0), (wide, high / 2, deep)))
            if high < 1.2 and draw.random() < 0.5:
                self._tv(place, high, wide)
            elif high < 1.5:
                self._clutter(place, high, wide, deep)

    def _tv(self, place: tuple[float, float, float], top: float, room: float) -> None:
        wide, high = self.draw.uniform(0.3, max(0.31, room)), self.draw.uniform(0.2, 0.35)
        self._add(
            "tv", self._material(low=0.02, high=0.12),
            self._box(place, (0, -top - high - 0.04, 0), (wide, high, 0.04)),
            self._box(place, (0, -top - 0.04, 0), (0.1, 0.04, 0.08)),
        )  # fmt: skip

    def _table(self, place: tuple[float, float, float], wide: float, deep: float, high: float) -> None:
        """A plate on two panels."""
        self._add(
            "table", self._material(),
            self._box(place, (0, -high + 0.04, 0), (wide, 0.04, deep)),
            *(self._box(place, (side * 0.85 * wide, -high / 2, 0), (0.05, high / 2, 0.8 * deep)) for side in (-1, 1)),
        )  # fmt: skip
        self._clutter(place, high, wide, deep)

    def _desk(self) -> None:
        wide, deep = self.draw.uniform(0.5, 0.8), self.draw.uniform(0.3, 0.4)
        if place := self._against_wall(wide, deep):
            self._table(place, wide, deep, self.draw.uniform(0.68, 0.78))

    def _dining(self) -> None:
        draw = self.draw
        wide, deep = draw.uniform(0.4, 0.8), draw.uniform(0.35, 0.5)
        if spot := self._in_the_open(max(wide, deep) + 0.15):
            place = (*spot, draw.uniform(-math.pi, math.pi))
            self._table(place, wide, deep, draw.uniform(0.45, 0.78))

    def _chair_somewhere(self) -> None:
        draw = self.draw
        if not (spot := self._in_the_open(0.32)):
            return
        place = (*spot, draw.uniform(-math.pi, math.pi))
        wide, seat, back = draw.uniform(0.22, 0.3), draw.uniform(0.4, 0.5), draw.uniform(0.8, 1.05)
        self._add(
            "chair", self._material(),
            self._box(place, (0, -seat, 0), (wide, 0.06, wide)),
            self._box(place, (0, -(seat + back) / 2, -wide), (wide, (back - seat) / 2, 0.05)),
            Cylinder((spot[0], -seat / 2, spot[1]), 0.07, seat / 2),
        )  # fmt: skip

    # -- small things --------------------------------------------------------------------------------------------

    def _clutter(self, place: tuple[float, float, float], top: float, wide: float, deep: float) -> None:
        """Put up to two things on a surface at height `top`."""
        draw = self.draw
        for _ in range(int(draw.random() * 3)):
            x, z = draw.uniform(-0.8, 0.8) * wide, draw.uniform(-0.7, 0.7) * deep
            if draw.random() < 0.4:
                self._books(place, x, z, top)
            else:
                lifted = self._box(place, (x, -top, z), (0.0, 0.0, 0.0)).centre
                self._thing(lifted, draw.uniform(0.08, 0.18))

    def _books(self, place: tuple[float, float, float], x: float, z: float, top: float) -> None:
        """Two or three books side by side."""
        draw = self.draw
        for _ in range(2 + int(draw.random() * 2)):
            thick, high = draw.uniform(0.03, 0.07), draw.uniform(0.12, 0.2)
            self._add("books", self._material(), self._box(place, (x, -top - high, z), (thick, high, 0.1)))
            x += 2 * thick + 0.005

    def _thing_on_floor(self) -> None:
        size = self.draw.uniform(0.14, 0.32)
        if spot := self._in_the_open(size):
            self._thing((spot[0], 0.0, spot[1]), size)

    def _thing(self, foot: Vector, size: float) -> None:
        """A ball, a can or a parcel of about `size` metres that stands on `foot`."""
        draw = self.draw
        x, y, z = foot
        kind = draw.random()
        if kind < 0.35:
            shape: Shape = Capsule((x, y - size, z), (x, y - size, z), size)
        elif kind < 0.7:
            shape = Cylinder((x, y - 1.3 * size, z), 0.7 * size, 1.3 * size)
        else:
            shape = Box((x, y - 0.8 * size, z), (size, 0.8 * size, 0.7 * size), draw.uniform(-math.pi, math.pi))
        self._add("objects", self._material(), shape)
