"""Augmentation: one affine map per sample, with which the image and every target are resampled once.

nyud: horizontal flip (p 1/2); zoom about the centre by 1, 1.2 or 1.5, by which depth is divided (a disparity
multiplied).
pascal: flip; rotation U(-20°, 20°) and scale U(0.75, 1.25) about the centre, in the original image's aspect ratio.
As in the released code, except for two bugs: here the bicubic image is clamped (not wrapped around), and pixels from
outside the image are void (not class 0). Normals are mirrored and rotated with the image.

Targets take the nearest pixel, with one index list for all of them. The image is bicubic (a = -3/4): with `grid_sample`
if it is rotated; otherwise the interpolation is separable, and four taps along rows and columns give the same sums at a
tenth of the cost (docs/performance.md).

Source: protocol of the released code of MT-CP, which follows Vandenhende et al., "Multi-Task Learning for Dense
Prediction Tasks: A Survey", TPAMI 2021.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mtcp.core.tasks import CLASSES, VOID

_ZOOMS: Final = (1.0, 1.2, 1.5)
#: Shift that makes ties between two pixels go to the lower one, whatever the rounding of the position.
_TIE: Final = 1e-6


@dataclass(frozen=True)
class Transform:
    """One sample's geometry: mirror, then rotate by `angle` (radians, clockwise on screen) and magnify by `scale`.

    `aspect` is the original width over height, at which angles are preserved. Depth is divided by `zoom`, which for a
    disparity is 1 / `scale`.
    """

    flip: bool = False
    angle: float = 0.0
    scale: float = 1.0
    aspect: float = 1.0
    zoom: float = 1.0

    def matrix(self) -> list[list[float]]:
        """The 2x3 matrix from output to input in grid_sample's coordinates (x and y from -1 to 1)."""
        c, s = math.cos(self.angle) / self.scale, math.sin(self.angle) / self.scale
        mirror = -1.0 if self.flip else 1.0
        # Undo rotation and scale in square pixels (x times aspect), then undo the mirror.
        return [[mirror * c, mirror * s / self.aspect, 0.0], [-s * self.aspect, c, 0.0]]


def draw_transform(
    policy: Literal["nyud", "pascal", "none"],
    seed: int,
    aspect: float = 1.0,
    zoom_depth: Literal["divided", "multiplied"] = "divided",
) -> Transform:
    """Return the sample's transform, a pure function of `seed`; a disparity is `multiplied` by the zoom."""
    if policy == "none":
        return Transform(aspect=aspect)
    draw = np.random.Generator(np.random.PCG64(seed))
    flip, first, second = draw.random() < 0.5, draw.random(), draw.random()
    if policy == "nyud":
        zoom = _ZOOMS[int(first * len(_ZOOMS))]
        by = zoom if zoom_depth == "divided" else 1 / zoom
        return Transform(flip=flip, scale=zoom, aspect=aspect, zoom=by)
    return Transform(flip=flip, angle=math.radians(40 * first - 20), scale=0.75 + 0.5 * second, aspect=aspect)


def augment(
    image: Tensor, targets: dict[str, Tensor], kinds: Mapping[str, str], transforms: list[Transform]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Apply one transform per sample, independently of the rest of the batch.

    `image` (B, 3, H, W) in [0, 255] and `targets` (B, C, H, W) by task, void 255, have any dtype; `kinds` gives each
    task's kind. Images are resampled bicubically and clamped, black outside; targets by nearest neighbour and void
    outside. Classes are returned as int64, everything else as float32. Where no body part remains in view, human_parts
    is void, as in an image without any.
    """
    pictures = torch.empty_like(image, dtype=torch.float32)
    warped = {
        name: torch.empty_like(target, dtype=torch.int64 if kinds[name] in CLASSES else torch.float32)
        for name, target in targets.items()
    }
    for k, transform in enumerate(transforms):
        index, outside = _nearest(transform, *image.shape[-2:], image.device)
        _show(image[k], transform, index, pictures[k])
        for name, target in targets.items():
            sampled = warped[name][k]
            for plane, source in zip(sampled, target[k], strict=True):
                plane.copy_(_taken(source, index))
            if outside is not None:
                sampled.masked_fill_(outside, VOID)
            if kinds[name] == "depth" and transform.zoom != 1:
                sampled.copy_(torch.where(sampled == VOID, sampled, sampled / transform.zoom))
            if kinds[name] == "normals":
                _turn_normals(sampled, transform)
            if kinds[name] == "human_parts" and not ((sampled > 0) & (sampled != VOID)).any():
                sampled.fill_(VOID)
    return pictures, warped


@lru_cache(maxsize=16)
def _nearest(transform: Transform, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """For every output pixel, the flat index (H W,) of the nearest input pixel, and whether it is outside (H, W)."""
    u, v = (((2 * torch.arange(n, dtype=torch.float64, device=device) + 1) / n - 1) for n in (width, height))
    (xx, xy, _), (yx, yy, _) = transform.matrix()
    x, y = xx * u + xy * v[:, None], yx * u + yy * v[:, None]
    columns, rows = (
        (((place + 1) * n - 1) / 2 - _TIE).round().clamp(0, n - 1).long() for place, n in ((x, width), (y, height))
    )
    outside = (x.abs() > 1) | (y.abs() > 1)
    return (rows * width + columns).int().flatten(), outside if outside.any() else None


def _taken(plane: Tensor, index: Tensor) -> Tensor:
    """Pixels of a plane (H, W) by flat index, as (H, W)."""
    return plane.flatten().index_select(0, index).view(plane.shape)


def _show(image: Tensor, transform: Transform, index: Tensor, out: Tensor) -> None:
    """Write the transformed photograph (3, H, W) to `out`, plane by plane, so that a plane stays in the cache."""
    if transform.angle:
        matrix = torch.tensor([transform.matrix()], dtype=torch.float32, device=image.device)
        grid = F.affine_grid(matrix, [1, *image.shape], align_corners=False)
        out.copy_(F.grid_sample(image[None].float(), grid, "bicubic", "zeros", align_corners=False)[0].clamp_(0, 255))
        return
    for source, plane in zip(image, out, strict=True):
        plane.copy_(_taken(source, index) if transform.scale == 1 else _magnified(source, transform))


def _magnified(plane: Tensor, transform: Transform) -> Tensor:
    """Bicubic magnification of a plane along rows, then columns: an output row is a weighted sum of four input rows."""
    height, width = plane.shape
    rows, row_weights = _taps(height, transform.scale, False, plane.device)
    columns, column_weights = _taps(width, transform.scale, transform.flip, plane.device)
    tall = F.embedding_bag(rows, plane.float(), per_sample_weights=row_weights, mode="sum")
    wide = F.embedding_bag(columns, tall.t().contiguous(), per_sample_weights=column_weights, mode="sum")
    return wide.clamp_(0, 255).t()


@lru_cache(maxsize=16)
def _taps(size: int, scale: float, mirror: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Four neighbours (size, 4) along one axis and their bicubic weights, 0 beyond the border.

    Cubic convolution of Keys, IEEE TASSP 1981, with a = -3/4, as in `grid_sample`.
    """
    place = (torch.arange(size, dtype=torch.float64, device=device) + 0.5 - size / 2) / scale + (size - 1) / 2
    place = size - 1 - place if mirror else place
    near = place.floor()[:, None] + torch.arange(-1, 3, device=device)
    t, a = (place[:, None] - near).abs(), -0.75
    weights = torch.where(t <= 1, ((a + 2) * t - (a + 3)) * t * t + 1, ((a * t - 5 * a) * t + 8 * a) * t - 4 * a)
    inside = (near >= 0) & (near < size)
    return near.clamp(0, size - 1).long(), (weights * inside).float()


def _turn_normals(normals: Tensor, transform: Transform) -> None:
    """Mirror and rotate `normals` (3, H, W) in place like the image; void stays void."""
    x, y, z = normals
    if transform.flip:
        x.copy_(torch.where(x == VOID, x, -x))
    if transform.angle:
        c, s = math.cos(transform.angle), math.sin(transform.angle)
        known = z != VOID
        normals[:2] = torch.where(known, torch.stack([c * x - s * y, s * x + c * y]), normals[:2])
