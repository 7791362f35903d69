"""Surfaces for ray casting: planes, boxes, capsules and cylinders, each with its distance along a ray and its normal.

For coordinates and reproducibility see `mtcp.data.rendering.raycast`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Vector = tuple[float, float, float]
Points = tuple[Array, Array, Array]

T = TypeVar("T")

#: Hits nearer than this (m) are ignored.
NEAR: Final = 0.05
#: A capsule whose squared length (m²) is below this is a sphere.
_POINT: Final = 1e-12


class Shape(Protocol):
    """A surface; all points are in world coordinates."""

    def bounds(self) -> tuple[Vector, float]:
        """Centre and radius of a sphere around the shape; the radius is infinite for an unbounded shape."""
        ...

    def distance(self, origin: Vector, d: Points) -> Array:
        """Ray parameter of the nearest hit in front of `origin`; infinity if there is none."""
        ...

    def normal(self, p: Points, d: Points) -> Points:
        """Outward unit normal at surface points `p`, seen along `d`; it faces the viewer, also at the rim of a face."""
        ...


def triple(parts: Iterable[T]) -> tuple[T, T, T]:
    """Return the three `parts` as a tuple."""
    first, second, third = parts
    return first, second, third


@dataclass(frozen=True)
class Plane:
    """The plane where coordinate `axis` equals `offset`; its normal is `sign` along that axis."""

    axis: int
    offset: float
    sign: float

    def bounds(self) -> tuple[Vector, float]:
        return (0.0, 0.0, 0.0), math.inf

    def distance(self, origin: Vector, d: Points) -> Array:
        t = (self.offset - origin[self.axis]) / d[self.axis]
        return np.where(t > NEAR, t, np.float32(np.inf))

    def normal(self, p: Points, d: Points) -> Points:
        parts = [np.zeros_like(p[0]) for _ in range(3)]
        parts[self.axis] += np.float32(self.sign)
        return parts[0], parts[1], parts[2]


@dataclass(frozen=True)
class Box:
    """A box with half extents `half`, rotated by `yaw` about the vertical axis through its centre."""

    centre: Vector
    half: Vector
    yaw: float = 0.0

    def bounds(self) -> tuple[Vector, float]:
        return self.centre, math.sqrt(sum(h * h for h in self.half))

    def _into(self, x: Any, z: Any) -> tuple[Any, Any]:
        """Rotate numbers or arrays x and z into the box's coordinates."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return c * x + s * z, c * z - s * x

    def distance(self, origin: Vector, d: Points) -> Array:
        ox, oy, oz = (o - c for o, c in zip(origin, self.centre, strict=True))
        ox, oz = self._into(ox, oz)
        dx, dz = self._into(d[0], d[2])
        near, far = np.float32(-np.inf), np.float32(np.inf)
        for o, step, half in ((ox, dx, self.half[0]), (oy, d[1], self.half[1]), (oz, dz, self.half[2])):
            inverse = 1.0 / np.where(step == 0, np.float32(1e-20), step)  # parallel to a side: 0 * infinity is NaN
            middle, reach = -o * inverse, np.abs(inverse) * half
            first, last = middle - reach, middle + reach
            near, far = np.maximum(near, first), np.minimum(far, last)
        return np.where((near <= far) & (near > NEAR), near, np.float32(np.inf))

    def normal(self, p: Points, d: Points) -> Points:
        x, z = self._into(p[0] - self.centre[0], p[2] - self.centre[2])
        local = (x, p[1] - self.centre[1], z)
        sides = [np.where(v < 0, np.float32(-1), np.float32(1)) for v in local]
        dx, dz = self._into(d[0], d[2])
        excess = [
            np.where(side * step < 0, np.abs(v) - np.float32(h), np.float32(-np.inf))
            for v, h, side, step in zip(local, self.half, sides, (dx, d[1], dz), strict=True)
        ]
        on_x = (excess[0] >= excess[1]) & (excess[0] >= excess[2])
        on_y = ~on_x & (excess[1] >= excess[2])
        nx, ny, nz = sides[0] * on_x, sides[1] * on_y, sides[2] * ~(on_x | on_y)
        c, s = np.float32(math.cos(self.yaw)), np.float32(math.sin(self.yaw))
        return c * nx - s * nz, ny, s * nx + c * nz


@dataclass(frozen=True)
class Capsule:
    """All points within `radius` of the segment from `start` to `end`; a sphere where both are equal."""

    start: Vector
    end: Vector
    radius: float

    def bounds(self) -> tuple[Vector, float]:
        middle = triple((a + b) / 2 for a, b in zip(self.start, self.end, strict=True))
        return middle, math.dist(self.start, self.end) / 2 + self.radius

    def distance(self, origin: Vector, d: Points) -> Array:
        axis = triple(b - a for a, b in zip(self.start, self.end, strict=True))
        from_start = triple(o - a for o, a in zip(origin, self.start, strict=True))
        best = self._sphere(triple(o - a for o, a in zip(origin, self.start, strict=True)), d)
        length = inner(axis, axis)
        if length < _POINT:
            return best
        best = np.minimum(best, self._sphere(triple(o - b for o, b in zip(origin, self.end, strict=True)), d))
        # Infinite cylinder about the axis: a quadratic in the components of d and from_start across the axis.
        along_d, along_o = inner(axis, d), inner(axis, from_start)
        a = length * inner(d, d) - along_d * along_d
        b = length * inner(from_start, d) - along_o * along_d
        c = length * (inner(from_start, from_start) - self.radius**2) - along_o * along_o
        t = _smaller_root(a, b, c)
        height = along_o + t * along_d
        return np.where((height > 0) & (height < length), np.minimum(best, t), best)

    def _sphere(self, from_centre: Vector, d: Points) -> Array:
        return _smaller_root(inner(d, d), inner(from_centre, d), inner(from_centre, from_centre) - self.radius**2)

    def normal(self, p: Points, d: Points) -> Points:
        axis = triple(b - a for a, b in zip(self.start, self.end, strict=True))
        rel = triple(v - a for v, a in zip(p, self.start, strict=True))
        length = inner(axis, axis)
        share = np.clip(inner(axis, rel) / length, 0, 1) if length >= _POINT else 0.0
        return triple((r - share * a) / self.radius for r, a in zip(rel, axis, strict=True))


@dataclass(frozen=True)
class Cylinder:
    """An upright cylinder around `centre` with flat ends."""

    centre: Vector
    radius: float
    half_height: float

    def bounds(self) -> tuple[Vector, float]:
        return self.centre, math.hypot(self.radius, self.half_height)

    def distance(self, origin: Vector, d: Points) -> Array:
        ox, oy, oz = (o - c for o, c in zip(origin, self.centre, strict=True))
        side = _smaller_root(d[0] * d[0] + d[2] * d[2], ox * d[0] + oz * d[2], ox * ox + oz * oz - self.radius**2)
        side = np.where(np.abs(oy + side * d[1]) < self.half_height, side, np.float32(np.inf))
        cap = (math.copysign(self.half_height, oy) - oy) / d[1]
        x, z = ox + cap * d[0], oz + cap * d[2]
        inside = (cap > NEAR) & (x * x + z * z < self.radius**2)
        return np.where(inside, np.minimum(cap, side), side)

    def normal(self, p: Points, d: Points) -> Points:
        x, y, z = (v - np.float32(c) for v, c in zip(p, self.centre, strict=True))
        side = np.where(y < 0, np.float32(-1), np.float32(1))
        on_cap = (np.abs(y) - self.half_height > np.sqrt(x * x + z * z) - self.radius) & (side * d[1] < 0)
        scale = np.float32(1 / self.radius) * ~on_cap
        return x * scale, side * on_cap, z * scale


def inner(a: tuple[Any, Any, Any], b: tuple[Any, Any, Any]) -> Any:
    """Inner product of two triples of numbers or arrays."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _smaller_root(a: Array, b: Array, c: Any) -> Array:
    """Smaller root of a t² + 2 b t + c = 0 (a > 0) where it is real and in front, else infinity."""
    discriminant = b * b - a * c
    t = (-b - np.sqrt(np.maximum(discriminant, 0))) / a
    return np.where((discriminant > 0) & (t > NEAR), t, np.float32(np.inf)).astype(np.float32)
