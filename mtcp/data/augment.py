"""Augmentation: one affine matrix per sample, applied by one `grid_sample` to the image and one to the targets.

nyud: horizontal flip (p 1/2); zoom about the centre by 1, 1.2 or 1.5, which divides depth by the zoom.
pascal: flip; rotation U(-20°, 20°) and scale U(0.75, 1.25) about the centre, in the original image's aspect ratio.
As in the released code, with two slips mended: the bicubic image is clamped (not wrapped around), and what comes from
outside the image is void (not class 0). Normals are mirrored and rotated with the image.

Source: protocol of the released code of MT-CP, which follows Vandenhende et al., "Multi-Task Learning for Dense
Prediction Tasks: A Survey", TPAMI 2021.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mtcp.tasks import VOID

_ZOOMS: Final = (1.0, 1.2, 1.5)


@dataclass(frozen=True)
class Transform:
    """One sample's geometry: mirror, then turn by `angle` (radians, clockwise on screen) and magnify by `scale`.

    `aspect` is the original width over height, in which angles are true. `zoom` divides depth.
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

    @property
    def reaches_outside(self) -> bool:
        """Whether some output pixel may come from outside the input."""
        return self.scale < 1 or self.angle != 0


def draw_transform(policy: Literal["nyud", "pascal", "none"], seed: int, aspect: float = 1.0) -> Transform:
    """Return the sample's transform, a pure function of `seed`."""
    if policy == "none":
        return Transform(aspect=aspect)
    draw = np.random.Generator(np.random.PCG64(seed))
    flip, first, second = draw.random() < 0.5, draw.random(), draw.random()
    if policy == "nyud":
        zoom = _ZOOMS[int(first * len(_ZOOMS))]
        return Transform(flip=flip, scale=zoom, aspect=aspect, zoom=zoom)
    return Transform(flip=flip, angle=math.radians(40 * first - 20), scale=0.75 + 0.5 * second, aspect=aspect)


def augment(image: Tensor, targets: dict[str, Tensor], transforms: list[Transform]) -> tuple[Tensor, dict[str, Tensor]]:
    """Apply one transform a sample.

    `image` (B, 3, H, W) in [0, 255]; `targets` (B, C, H, W) float by task, void 255. Images are bicubic and clamped,
    black outside; targets are nearest, void outside.
    """
    matrices = torch.tensor([t.matrix() for t in transforms], dtype=image.dtype, device=image.device)
    grid = F.affine_grid(matrices, list(image.shape), align_corners=False)
    image = F.grid_sample(image, grid, "bicubic", "zeros", align_corners=False).clamp_(0, 255)
    channels = [target.shape[1] for target in targets.values()]
    sampled = F.grid_sample(torch.cat(list(targets.values()), dim=1), grid, "nearest", "border", align_corners=False)
    if any(t.reaches_outside for t in transforms):
        sampled.masked_fill_((grid.abs().amax(dim=-1) > 1)[:, None], VOID)
    warped = dict(zip(targets, sampled.split(channels, dim=1), strict=True))
    if "depth" in warped:
        depth = warped["depth"]
        zoom = torch.tensor([t.zoom for t in transforms], dtype=depth.dtype, device=depth.device)
        warped["depth"] = (depth / zoom[:, None, None, None]).masked_fill_(depth == VOID, VOID)
    if "normals" in warped:
        warped["normals"] = _turn_normals(warped["normals"], transforms)
    return image, warped


def _turn_normals(normals: Tensor, transforms: list[Transform]) -> Tensor:
    """Mirror x and rotate (x, y) as the image was; void stays void."""
    values = [(t.flip, math.cos(t.angle), math.sin(t.angle)) for t in transforms]
    flip, c, s = (
        torch.tensor(v, dtype=normals.dtype, device=normals.device)[:, None, None] for v in zip(*values, strict=True)
    )
    x, y, z = normals.unbind(dim=1)
    x = x * (1 - 2 * flip)
    turned = torch.stack([c * x - s * y, s * x + c * y, z], dim=1)
    return turned.masked_fill_((z == VOID)[:, None], VOID)
