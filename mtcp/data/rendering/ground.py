"""The ground of a scene under construction: its free places, and what was placed on it."""

import math
from random import Random
from typing import Final

from mtcp.data.rendering.scene import CHECKS, MARBLE, PLAIN, STRIPES, Material, Part, drawn_material
from mtcp.data.rendering.shapes import Box, Plane, Shape

CLASSES: Final = ("background", "person", "dog", "horse", "bird", "ball", "chair", "bottle", "box")
_LABEL: Final = {name: k for k, name in enumerate(CLASSES)}
_PATTERNS: Final = (PLAIN, PLAIN, CHECKS, STRIPES, MARBLE, MARBLE)


class Ground:
    """Ground at y = 0; the camera looks along +z from the origin."""

    def __init__(self, draw: Random) -> None:
        self.draw = draw
        self.parts: list[Part] = []
        self.pieces = 0
        #: Taken ground: circles (x, z, radius).
        self.taken: list[tuple[float, float, float]] = []

    def material(self) -> Material:
        """Draw a material of any grey."""
        return drawn_material(self.draw, (0.08, 0.85), 0.6, _PATTERNS, frequency=(2.0, 8.0), contrast=(0.05, 0.35))

    def add(self, name: str, material: Material, *shapes: Shape, body_part: int = 0) -> None:
        """Add shapes to the current object."""
        self.parts += [Part(shape, _LABEL[name], self.pieces, material, body_part) for shape in shapes]

    def spot(self, radius: float, nearest: float = 1.6) -> tuple[float, float] | None:
        """Find free ground of `radius` in view, more often near than far, and begin a new object there."""
        draw = self.draw
        for _ in range(12):
            z = nearest + (4.5 - nearest) * draw.random() ** 2
            x = draw.uniform(-0.55, 0.55) * z
            if all(math.hypot(x - a, z - b) > radius + r for a, b, r in self.taken):
                self.taken.append((x, z, radius))
                self.pieces += 1
                return x, z
        return None

    def surroundings(self) -> None:
        """Add ground, sky or ceiling, far walls and a few distant blocks: all background, no object."""
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
            self.parts.append(Part(shape, _LABEL["background"], -k, self.material()))
