"""A ray caster in NumPy: class, piece, depth and normals of every pixel from one and the same hit.

Camera coordinates: x right, y down, z away from the viewer, pixel centres at half-integers; world coordinates are
alike with y along gravity. Rays have z component 1 in camera coordinates, so that a ray's parameter *is* the depth.

The result must be the same on every machine. So there is no matrix product (BLAS sums in an order of its own), no
reduction over an array axis and no sine or exponential of an array: only +, -, *, /, square roots and comparisons,
which IEEE 754 fixes to the last bit. Noise is an integer hash.
"""

import math
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Vector = tuple[float, float, float]
Points = tuple[Array, Array, Array]

PLAIN, CHECKS, STRIPES, MARBLE = range(4)
#: Focal length over image width; NYU Depth v2 has 518.86 / 640.
FOCAL: Final = 0.81
_NEAR: Final = 0.05
#: A capsule whose squared length (m²) is below this is a sphere.
_POINT: Final = 1e-12


@dataclass(frozen=True)
class Material:
    """Colour and solid texture: `pattern` modulates `colour` by ±`contrast` at `frequency` cells per metre."""

    colour: Vector
    pattern: int = PLAIN
    frequency: float = 4.0
    contrast: float = 0.0
    phase: Vector = (0.37, 0.61, 0.23)
    emission: float = 0.0


class Shape(Protocol):
    """A surface; all points are in world coordinates."""

    def bounds(self) -> tuple[Vector, float]:
        """Centre and radius of a sphere around the shape (radius infinite: everywhere)."""

    def distance(self, origin: Vector, d: Points) -> Array:
        """Ray parameter of the nearest hit in front of `origin`, infinity where there is none."""

    def normal(self, p: Points, d: Points) -> Points:
        """Outward unit normal at surface points `p`, seen along `d`: it faces the viewer, on the rim of a face too."""


@dataclass(frozen=True)
class Plane:
    """The plane where coordinate `axis` equals `offset`; its normal points to the side `sign` of it."""

    axis: int
    offset: float
    sign: float

    def bounds(self) -> tuple[Vector, float]:
        return (0.0, 0.0, 0.0), math.inf

    def distance(self, origin: Vector, d: Points) -> Array:
        t = (self.offset - origin[self.axis]) / d[self.axis]
        return np.where(t > _NEAR, t, np.float32(np.inf))

    def normal(self, p: Points, d: Points) -> Points:
        parts = [np.zeros_like(p[0]) for _ in range(3)]
        parts[self.axis] += np.float32(self.sign)
        return parts[0], parts[1], parts[2]


@dataclass(frozen=True)
class Box:
    """A box of half extents `half`, turned by the angle `yaw` about the vertical through its centre."""

    centre: Vector
    half: Vector
    yaw: float = 0.0

    def bounds(self) -> tuple[Vector, float]:
        return self.centre, math.sqrt(sum(h * h for h in self.half))

    def _into(self, x: Array | float, z: Array | float) -> tuple[Array, Array]:
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return c * x + s * z, c * z - s * x

    def distance(self, origin: Vector, d: Points) -> Array:
        ox, oy, oz = (o - c for o, c in zip(origin, self.centre, strict=True))
        ox, oz = self._into(ox, oz)
        dx, dz = self._into(d[0], d[2])
        near, far = None, None
        for o, step, half in ((ox, dx, self.half[0]), (oy, d[1], self.half[1]), (oz, dz, self.half[2])):
            inverse = 1.0 / np.where(step == 0, np.float32(1e-20), step)  # along a side: 0 * infinity is NaN
            middle, reach = -o * inverse, np.abs(inverse) * half
            first, last = middle - reach, middle + reach
            near = first if near is None else np.maximum(near, first)
            far = last if far is None else np.minimum(far, last)
        return np.where((near <= far) & (near > _NEAR), near, np.float32(np.inf))

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
        middle = tuple((a + b) / 2 for a, b in zip(self.start, self.end, strict=True))
        return middle, math.dist(self.start, self.end) / 2 + self.radius

    def distance(self, origin: Vector, d: Points) -> Array:
        axis = tuple(b - a for a, b in zip(self.start, self.end, strict=True))
        from_start = tuple(o - a for o, a in zip(origin, self.start, strict=True))
        best = self._sphere(tuple(o - a for o, a in zip(origin, self.start, strict=True)), d)
        length = _inner(axis, axis)
        if length < _POINT:
            return best
        best = np.minimum(best, self._sphere(tuple(o - b for o, b in zip(origin, self.end, strict=True)), d))
        # Infinite cylinder about the axis: the parts of d and from_start across the axis satisfy a quadratic.
        along_d, along_o = _inner(axis, d), _inner(axis, from_start)
        a = length * _inner(d, d) - along_d * along_d
        b = length * _inner(from_start, d) - along_o * along_d
        c = length * (_inner(from_start, from_start) - self.radius**2) - along_o * along_o
        t = _smaller_root(a, b, c)
        height = along_o + t * along_d
        return np.where((height > 0) & (height < length), np.minimum(best, t), best)

    def _sphere(self, from_centre: Vector, d: Points) -> Array:
        return _smaller_root(_inner(d, d), _inner(from_centre, d), _inner(from_centre, from_centre) - self.radius**2)

    def normal(self, p: Points, d: Points) -> Points:
        axis = tuple(b - a for a, b in zip(self.start, self.end, strict=True))
        rel = tuple(v - a for v, a in zip(p, self.start, strict=True))
        length = _inner(axis, axis)
        share = np.clip(_inner(axis, rel) / length, 0, 1) if length >= _POINT else 0.0
        return tuple((r - share * a) / self.radius for r, a in zip(rel, axis, strict=True))


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
        inside = (cap > _NEAR) & (x * x + z * z < self.radius**2)
        return np.where(inside, np.minimum(cap, side), side)

    def normal(self, p: Points, d: Points) -> Points:
        x, y, z = (v - np.float32(c) for v, c in zip(p, self.centre, strict=True))
        side = np.where(y < 0, np.float32(-1), np.float32(1))
        on_cap = (np.abs(y) - self.half_height > np.sqrt(x * x + z * z) - self.radius) & (side * d[1] < 0)
        scale = np.float32(1 / self.radius) * ~on_cap
        return x * scale, side * on_cap, z * scale


def _inner(a: tuple, b: tuple) -> Array | float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _smaller_root(a: Array, b: Array, c: Array | float) -> Array:
    """Smaller root of a t² + 2 b t + c = 0 (a > 0) where it is real and in front, else infinity."""
    discriminant = b * b - a * c
    t = (-b - np.sqrt(np.maximum(discriminant, 0))) / a
    return np.where((discriminant > 0) & (t > _NEAR), t, np.float32(np.inf)).astype(np.float32)


@dataclass(frozen=True)
class Part:
    """One shape of a scene with its annotations: `label` a class, `piece` the object that it belongs to."""

    shape: Shape
    label: int
    piece: int
    material: Material
    body_part: int = 0


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
        x = tuple(cr * a + sr * b for a, b in zip(right, down, strict=True))
        y = tuple(cr * b - sr * a for a, b in zip(right, down, strict=True))
        return x, y, forward

    def rays(self) -> Points:
        """World directions of all pixels, each (H, W) float32, with camera z component 1."""
        f = FOCAL * self.width
        u = ((np.arange(self.width) + 0.5 - self.width / 2) / f).astype(np.float32)[None, :]
        v = ((np.arange(self.height) + 0.5 - self.height / 2) / f).astype(np.float32)[:, None]
        x, y, z = self.axes()
        return tuple(np.float32(x[k]) * u + np.float32(y[k]) * v + np.float32(z[k]) for k in range(3))

    def window(self, centre: Vector, radius: float) -> tuple[slice, slice] | None:
        """Rows and columns that may see a sphere; None where it is out of view."""
        whole = slice(0, self.height), slice(0, self.width)
        if math.isinf(radius):
            return whole
        rel = tuple(c - p for c, p in zip(centre, self.position, strict=True))
        x, y, z = (_inner(axis, rel) for axis in self.axes())
        if z + radius <= _NEAR:
            return None
        if z - radius <= _NEAR:
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


@dataclass(frozen=True)
class Light:
    """A point light of `power` (radiance on a facing surface at one metre) and `colour`."""

    position: Vector
    power: float
    colour: Vector = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Scene:
    """Parts before a camera, lights, ambient light; sensor `noise` as a share of full scale; `salient` pieces."""

    parts: list[Part]
    camera: Camera
    lights: list[Light]
    ambient: float
    exposure: float = 1.0
    noise: float = 0.0
    salient: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Picture:
    """What a camera sees, each (H, W): sRGB-like `image` uint8 (…, 3), `label`, `piece`, `body_part` uint8/int16,
    `depth` metres float32, `normals` (…, 3) float32 in camera coordinates, facing the viewer."""

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]
    piece: NDArray[np.int16]
    body_part: NDArray[np.uint8]
    depth: Array
    normals: Array


def render(scene: Scene, noise_seed: int = 0) -> Picture:
    """Cast one ray a pixel and shade its hit (Lambert, falling off with distance; no shadows)."""
    camera = scene.camera
    d = camera.rays()
    origin = camera.position
    shape_hw = (camera.height, camera.width)
    depth = np.full(shape_hw, np.inf, np.float32)
    index = np.full(shape_hw, -1, np.int16)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for k, part in enumerate(scene.parts):
            window = camera.window(*part.shape.bounds())
            if window is None:
                continue
            t = part.shape.distance(origin, (d[0][window], d[1][window], d[2][window]))
            nearer = t < depth[window]
            np.copyto(depth[window], t, where=nearer, casting="same_kind")
            index[window][nearer] = k
    if (index < 0).any():
        raise ValueError("a ray left the scene: every scene must be closed")
    point = tuple(np.float32(o) + depth * step for o, step in zip(origin, d, strict=True))
    normal = _normals(scene, index, point, d)
    image = _shade(scene, index, point, normal)
    if scene.noise:
        image = image + np.float32(scene.noise) * _grain(image.shape, noise_seed)
    axes = camera.axes()
    seen = np.stack([_inner(tuple(np.float32(a) for a in axis), normal) for axis in axes], axis=-1)
    table = np.array([(p.label, p.piece, p.body_part) for p in scene.parts], np.int16)[index]
    return Picture(
        image=np.clip(np.floor(image * 255 + np.float32(0.5)), 0, 255).astype(np.uint8),
        label=table[..., 0].astype(np.uint8),
        piece=table[..., 1],
        body_part=table[..., 2].astype(np.uint8),
        depth=depth,
        normals=seen.astype(np.float32),
    )


def _normals(scene: Scene, index: NDArray[np.int16], point: Points, d: Points) -> Points:
    normal = tuple(np.empty_like(point[0]) for _ in range(3))
    flat, order = index.ravel(), np.argsort(index.ravel(), kind="stable")
    starts = np.searchsorted(flat[order], np.arange(len(scene.parts) + 1))
    flat_points, flat_d = tuple(p.ravel() for p in point), tuple(step.ravel() for step in d)
    for k, part in enumerate(scene.parts):
        pixels = order[starts[k] : starts[k + 1]]
        if pixels.size:
            values = part.shape.normal(tuple(p[pixels] for p in flat_points), tuple(step[pixels] for step in flat_d))
            for target, value in zip(normal, values, strict=True):
                target.reshape(-1)[pixels] = value
    return normal


def _shade(scene: Scene, index: NDArray[np.int16], point: Points, normal: Points) -> Array:
    """Radiance (H, W, 3): albedo x (ambient + Lambert of each light) + emission, then a square-root tone curve."""
    materials = [part.material for part in scene.parts]
    frequency = np.array([m.frequency for m in materials], np.float32)[index]
    phase = np.array([m.phase for m in materials], np.float32)[index]
    cell = [p * frequency + phase[..., k] for k, p in enumerate(point)]
    whole = [np.floor(c).astype(np.int32) for c in cell]
    kind = np.array([m.pattern for m in materials], np.int8)[index]
    checks = (whole[0] + whole[1] + whole[2]) & 1
    stripes = (whole[0] + whole[2]) & 1
    tone = np.where(kind == CHECKS, checks, stripes).astype(np.float32) * 2 - 1
    marbled = kind == MARBLE
    if marbled.any():
        tone[marbled] = _value_noise([c[marbled] for c in cell], [w[marbled] for w in whole])
    contrast = np.array([m.contrast for m in materials], np.float32)[index]
    tone = 1 + contrast * tone * (kind != PLAIN)

    # Light from above is stronger than from below (y points down).
    ambient = np.float32(scene.ambient) * (np.float32(0.7) - np.float32(0.3) * normal[1])
    light = [ambient.copy() for _ in range(3)]
    for lamp in scene.lights:
        to = tuple(np.float32(a) - b for a, b in zip(lamp.position, point, strict=True))
        squared = _inner(to, to)
        facing = np.maximum(_inner(to, normal), 0) / np.sqrt(squared)
        strength = np.float32(lamp.power) * facing / (1 + squared * np.float32(0.15))
        for k in range(3):
            light[k] += strength * np.float32(lamp.colour[k])
    colour = np.array([m.colour for m in materials], np.float32)[index]
    emission = np.array([m.emission for m in materials], np.float32)[index]
    radiance = [
        (colour[..., k] * tone * light[k] + emission * colour[..., k]) * np.float32(scene.exposure) for k in range(3)
    ]
    return np.sqrt(np.clip(np.stack(radiance, axis=-1), 0, 1))


def _hash(*parts: NDArray[np.integer] | int) -> NDArray[np.uint32]:
    """Mix integers into 32 well-spread bits (multiply and xor-shift)."""
    mixed = np.uint32(0x9E3779B9)
    for part in parts:
        mixed = (mixed ^ np.asarray(part).astype(np.uint32)) * np.uint32(0x85EBCA6B)
        mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        mixed = mixed ^ (mixed >> np.uint32(16))
    return mixed


def _value_noise(cell: list[Array], whole: list[NDArray[np.int32]]) -> Array:
    """Smooth noise in [-1, 1]: hashed values at lattice points, blended by the cubic 3 s² - 2 s³."""
    blend = [(c - w) for c, w in zip(cell, whole, strict=True)]
    blend = [(s * s * (3 - 2 * s)).astype(np.float32) for s in blend]
    total = np.zeros_like(blend[0])
    for corner in range(8):
        bits = [(corner >> k) & 1 for k in range(3)]
        weight = np.float32(1)
        for s, bit in zip(blend, bits, strict=True):
            weight = weight * (s if bit else 1 - s)
        values = _hash(*(w + bit for w, bit in zip(whole, bits, strict=True)))
        total += weight * (values.astype(np.float32) / np.float32(2**31) - 1)
    return total


def _grain(shape: tuple[int, ...], seed: int) -> Array:
    """Sensor noise of about unit variance: the sum of three uniform variables of variance 1/3 each."""
    counter = np.arange(shape[0] * shape[1] * shape[2], dtype=np.uint32).reshape(shape)
    total = np.zeros(shape, np.float32)
    for k in range(3):
        total += _hash(counter, np.uint32(seed & 0xFFFFFFFF), k).astype(np.float32) / np.float32(2**31) - 1
    return total
