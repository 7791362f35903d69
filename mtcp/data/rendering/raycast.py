"""A ray caster in NumPy: class, piece, depth and normals of every pixel come from the same hit.

Camera coordinates: x right, y down, z away from the viewer, pixel centres at half-integers. World coordinates are
similar, with y along gravity. Rays have z component 1 in camera coordinates, so a ray's parameter *is* the depth.

The result must be the same on every machine. Therefore there are no matrix products (BLAS chooses the order of
summation), no reductions over array axes and no sines or exponentials of arrays: only +, -, *, /, square roots and
comparisons, which IEEE 754 specifies to the last bit. Noise is an integer hash.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtcp.data.rendering.scene import Scene
from mtcp.data.rendering.shading import grain, shade
from mtcp.data.rendering.shapes import Array, Points, inner, triple


@dataclass(frozen=True)
class Picture:
    """What a camera sees, each (H, W).

    sRGB-like `image` uint8 (..., 3), `label` and `body_part` uint8, `piece` int16, `depth` in metres float32, `normals`
    (..., 3) float32 in camera coordinates, facing the viewer.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]
    piece: NDArray[np.int16]
    body_part: NDArray[np.uint8]
    depth: Array
    normals: Array


def render(scene: Scene, noise_seed: int = 0) -> Picture:
    """Cast one ray per pixel and shade its hit (Lambert, falling off with distance; no shadows)."""
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
    point = triple(np.float32(o) + depth * step for o, step in zip(origin, d, strict=True))
    normal = _normals(scene, index, point, d)
    image = shade(scene, index, point, normal)
    if scene.noise:
        image = image + np.float32(scene.noise) * grain(image.shape, noise_seed)
    axes = camera.axes()
    seen = np.stack([inner(triple(np.float32(a) for a in axis), normal) for axis in axes], axis=-1)
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
    normal = triple(np.empty_like(point[0]) for _ in range(3))
    flat, order = index.ravel(), np.argsort(index.ravel(), kind="stable")
    starts = np.searchsorted(flat[order], np.arange(len(scene.parts) + 1))
    flat_points, flat_d = tuple(p.ravel() for p in point), tuple(step.ravel() for step in d)
    for k, part in enumerate(scene.parts):
        pixels = order[starts[k] : starts[k + 1]]
        if pixels.size:
            values = part.shape.normal(triple(p[pixels] for p in flat_points), triple(step[pixels] for step in flat_d))
            for target, value in zip(normal, values, strict=True):
                target.reshape(-1)[pixels] = value
    return normal
