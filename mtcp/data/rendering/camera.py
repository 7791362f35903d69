"""The pinhole camera."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from mtcp.data.rendering.shapes import NEAR, Points, Vector, inner, triple

#: Focal length over image width; NYU Depth v2 has 518.86 / 640.
FOCAL: Final = 0.81


@dataclass(frozen=True)
class Camera:
    """A pinhole at `position`, turned by yaw (about gravity), then pitch (up), then roll, in radians."""

    position: Vector
    yaw: float
    pitch: float
    roll: float
    height: int
    width: int

    def axes(self) -> tuple[Vector, Vector, Vector]:
        """The camera's x, y and z axes in world coordinates."""
        cy, sy, cp, sp = math.cos(self.yaw), math.sin(self.yaw), math.cos(self.pitch), math.sin(self.pitch)
        forward = (sy * cp, -sp, cy * cp)
        right, down = (cy, 0.0, -sy), (sy * sp, cp, cy * sp)
        cr, sr = math.cos(self.roll), math.sin(self.roll)
        x = triple(cr * a + sr * b for a, b in zip(right, down, strict=True))
        y = triple(cr * b - sr * a for a, b in zip(right, down, strict=True))
        return x, y, forward

    def rays(self) -> Points:
        """World directions of all pixels, each (H, W) float32, with camera z component 1."""
        f = FOCAL * self.width
        u = ((np.arange(self.width) + 0.5 - self.width / 2) / f).astype(np.float32)[None, :]
        v = ((np.arange(self.height) + 0.5 - self.height / 2) / f).astype(np.float32)[:, None]
        x, y, z = self.axes()
        return triple(np.float32(x[k]) * u + np.float32(y[k]) * v + np.float32(z[k]) for k in range(3))

    def window(self, centre: Vector, radius: float) -> tuple[slice, slice] | None:
        """Rows and columns in which a sphere may be visible; None if it is out of view."""
        whole = slice(0, self.height), slice(0, self.width)
        if math.isinf(radius):
            return whole
        rel = triple(c - p for c, p in zip(centre, self.position, strict=True))
        x, y, z = (inner(axis, rel) for axis in self.axes())
        if z + radius <= NEAR:
            return None
        if z - radius <= NEAR:
            return whole
        f = FOCAL * self.width
        limits = []
        for c, size in ((y, self.height), (x, self.width)):
            low = min((c - radius) / (z - radius), (c - radius) / (z + radius))
            high = max((c + radius) / (z - radius), (c + radius) / (z + radius))
            first, last = math.floor(low * f + size / 2), math.ceil(high * f + size / 2)
            limits.append(slice(max(first, 0), min(last, size)))
        if any(limit.start >= limit.stop for limit in limits):
            return None
        return limits[0], limits[1]
