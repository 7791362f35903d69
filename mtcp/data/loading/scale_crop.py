"""The loss-weighting literature's augmentation: a random crop, enlarged to full size and possibly mirrored.

Per sample: a scale s of 1, 1.2 or 1.5, equally likely; a crop of int(H/s) x int(W/s) pixels at a uniform position,
resized to H x W, image and normals bilinearly with aligned corners, everything else by nearest neighbour; mirrored with
probability 1/2, which flips the sign of the normals' x. Depth in metres is divided by s. A disparity must be
*multiplied* by s, because at 1/s of the distance it is s times as large; the published numbers of Cityscapes were
trained with a division (`divided`), auto-lambda multiplies.

Normals are not rescaled to unit length: they are shorter at edges, and beside invalid pixels they are mixed with the
zero vector that represents these. Only pixels that are exactly zero are void.

Source: the code of CAGrad, Nash-MTL, FAMO and FairGrad, which is based on lorenmt/mtan (switched off in its paper).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mtcp.core.tasks import CLASSES, VOID

SCALES: Final = (1.0, 1.2, 1.5)


@dataclass(frozen=True)
class Crop:
    """One sample's crop: `scale`, upper left corner and size in pixels, and whether it is mirrored."""

    scale: float
    top: int
    left: int
    height: int
    width: int
    flip: bool


def draw_crop(seed: int, height: int, width: int) -> Crop:
    """Return the crop of an image of height x width, a pure function of `seed`."""
    draw = np.random.Generator(np.random.PCG64(seed))
    scale = SCALES[draw.integers(len(SCALES))]
    h, w = int(height / scale), int(width / scale)
    top, left = draw.integers(height - h, endpoint=True), draw.integers(width - w, endpoint=True)
    return Crop(scale, int(top), int(left), h, w, bool(draw.random() < 0.5))


def scale_crop(
    image: Tensor,
    targets: dict[str, Tensor],
    kinds: Mapping[str, str],
    crops: Sequence[Crop],
    zoom_depth: Literal["divided", "multiplied"],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Apply one crop per sample to `image` (B, 3, H, W) in [0, 255] and `targets` (B, C, H, W) by task, void 255.

    `kinds` gives each task's kind. Images and targets are returned as float32, classes as int64.
    """
    found = {
        name: torch.stack(
            [_target(kinds[name], one, crop, zoom_depth) for one, crop in zip(target, crops, strict=True)]
        )
        for name, target in targets.items()
    }
    return torch.stack([_bilinear(one.float(), crop) for one, crop in zip(image, crops, strict=True)]), found


def _target(kind: str, plane: Tensor, crop: Crop, zoom_depth: str) -> Tensor:
    if kind == "normals":
        normals = _bilinear(torch.where(plane == VOID, 0, plane.float()), crop)
        if crop.flip:
            normals[0] = -normals[0]
        return torch.where((normals == 0).all(dim=0), float(VOID), normals)
    part = _part(plane, crop).float()
    nearest = _mirrored(F.interpolate(part[None], plane.shape[-2:], mode="nearest")[0], crop)
    if kind == "depth":
        zoomed = nearest / crop.scale if zoom_depth == "divided" else nearest * crop.scale
        return torch.where(nearest == VOID, nearest, zoomed)
    return nearest.long() if kind in CLASSES else nearest


def _bilinear(plane: Tensor, crop: Crop) -> Tensor:
    part = _part(plane, crop)
    return _mirrored(F.interpolate(part[None], plane.shape[-2:], mode="bilinear", align_corners=True)[0], crop)


def _part(plane: Tensor, crop: Crop) -> Tensor:
    return plane[:, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]


def _mirrored(plane: Tensor, crop: Crop) -> Tensor:
    return plane.flip(-1) if crop.flip else plane
