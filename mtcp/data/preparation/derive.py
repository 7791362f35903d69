"""Targets derived from others: edges from label boundaries, normals from depth."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mtcp.core.tasks import VOID
from mtcp.data.formats.cameras import Camera

_GRAZING: Final = 8.0
_SPREAD: Final = 0.01


def edges_from_labels(labels: NDArray[np.integer], void: int | None = VOID) -> NDArray[np.uint8]:
    """Return 1 where a label differs from its right or lower neighbour, else 0: boundaries one pixel wide.

    `labels` (H, W). Pixels labelled `void` become 255 (not evaluated), and a border with void is not an edge.
    """
    edges = np.zeros(labels.shape, np.uint8)
    known = np.ones(labels.shape, bool) if void is None else labels != void
    edges[:, :-1] |= (labels[:, :-1] != labels[:, 1:]) & known[:, :-1] & known[:, 1:]
    edges[:-1] |= (labels[:-1] != labels[1:]) & known[:-1] & known[1:]
    edges[~known] = VOID
    return edges


def normals_from_depth(depth: NDArray[np.floating], camera: Camera) -> NDArray[np.float32]:
    """Return unit normals (H, W, 3) of a depth map (H, W) in metres by local plane fits; void is 255 in both.

    The plane n·P = d seen at P = z (u, v, 1), with u = (x - cx) / fx and v = (y - cy) / fy, has inverse depth
    1/z = (n·(u, v, 1)) / d: linear in (u, v) for any slant. A weighted least-squares fit of 1/z over a window of ±W/64
    pixels therefore gives the normal's direction. There are two fits: the first leaves out neighbours too far away to
    be on the same surface, the second weights neighbours by their distance w from the first plane, 1 / (1 + (w/s)²).
    Normals point to the viewer, in camera coordinates (x right, y down, z away).
    """
    valid = (depth != VOID) & (depth > 0)
    inverse = np.where(valid, 1 / np.where(valid, depth, 1), 0).astype(np.float32)
    height, width = depth.shape
    u = ((np.arange(width) + 0.5 - camera.cx) / camera.fx).astype(np.float32)[None, :]
    v = ((np.arange(height) + 0.5 - camera.cy) / camera.fy).astype(np.float32)[:, None]
    steps = _window(width)
    radius = steps[-1]
    padded = np.pad(inverse, radius)
    neighbours = [
        (dx / camera.fx, dy / camera.fy, padded[radius + dy :, radius + dx :][:height, :width])
        for dy in steps
        for dx in steps
    ]
    # A slope steeper than about 7° grazing between two pixels counts as a step between two surfaces.
    limit = inverse * np.float32(_GRAZING * radius / camera.fx)
    plane = _fit(neighbours, [(w > 0) & (np.abs(w - inverse) < limit) for _, _, w in neighbours])
    scale = np.float32(_SPREAD) * inverse + np.float32(1e-9)
    weights = [
        (w > 0) / (1 + ((w - plane[0] - plane[1] * np.float32(du) - plane[2] * np.float32(dv)) / scale) ** 2)
        for du, dv, w in neighbours
    ]
    centre, a, b = _fit(neighbours, weights)
    normal = -np.stack([a, b, centre - a * u - b * v], axis=-1)
    length = np.sqrt((normal * normal).sum(axis=-1))
    usable = valid & np.isfinite(length) & (length > 0)
    return np.where(usable[..., None], normal / np.where(usable, length, 1)[..., None], VOID).astype(np.float32)


def _window(width: int) -> list[int]:
    """Offsets of the fit's samples along one axis: ±width/64 pixels, at most seven of them."""
    radius = max(1, round(width / 64))
    return sorted({round(offset) for offset in np.linspace(-radius, radius, min(2 * radius + 1, 7))})


def _fit(neighbours: list[tuple], weights: list[NDArray]) -> tuple[NDArray, NDArray, NDArray]:
    """Weighted least squares of w = c + a du + b dv per pixel, by Cramer's rule; singular fits give NaN."""
    shape = neighbours[0][2].shape
    m, mu, mv, muu, muv, mvv, mw, muw, mvw = (np.zeros(shape, np.float32) for _ in range(9))
    unit = neighbours[-1][0]  # the window's radius, to keep sums near one
    for (du, dv, w), weight in zip(neighbours, weights, strict=True):
        weight = weight.astype(np.float32)
        x, y = np.float32(du / unit), np.float32(dv / unit)
        weighted = weight * w
        m += weight
        mu += weight * x
        mv += weight * y
        muu += weight * (x * x)
        muv += weight * (x * y)
        mvv += weight * (y * y)
        mw += weighted
        muw += weighted * x
        mvw += weighted * y
    c0, c1, c2 = muu * mvv - muv * muv, muv * mv - mu * mvv, mu * muv - muu * mv
    determinant = m * c0 + mu * c1 + mv * c2
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(determinant > 1e-4 * m * m * m, 1 / determinant, np.float32(np.nan))
    centre = (mw * c0 + muw * c1 + mvw * c2) * scale
    a = (mw * c1 + muw * (m * mvv - mv * mv) + mvw * (mu * mv - m * muv)) * scale
    b = (mw * c2 + muw * (mu * mv - m * muv) + mvw * (m * muu - mu * mu)) * scale
    return centre, a / np.float32(unit), b / np.float32(unit)
