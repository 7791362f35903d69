"""Pinhole cameras: NYU Depth v2's, and the one recorded with a data set, at any size and of any part of the frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple


class Part(NamedTuple):
    """The part of a frame that an image shows: its borders as fractions of the frame's height and width."""

    top: float
    bottom: float
    left: float
    right: float


WHOLE: Final = Part(0, 1, 0, 1)
#: The loss-weighting literature's package shows rows 26 to 232 and columns 22 to 297 of 240x320 (found by comparing
#: pixels).
PACKAGED: Final = Part(26 / 240, 233 / 240, 22 / 320, 298 / 320)
#: Frames of 425x560 are rows 46 to 470 and columns 41 to 600 of 480x640, from 1 (Gupta et al., CVPR 2013).
CROPPED: Final = Part(45 / 480, 470 / 480, 40 / 640, 600 / 640)


@dataclass(frozen=True)
class Camera:
    """Pinhole intrinsics in pixels: focal lengths and principal point, pixel centres at half-integers."""

    fx: float
    fy: float
    cx: float
    cy: float

    def scaled(self, down: float, right: float) -> "Camera":
        """The camera of the same image resized by these factors, in height and in width."""
        return Camera(self.fx * right, self.fy * down, self.cx * right, self.cy * down)


def nyu_camera(height: int, width: int, part: Part = WHOLE) -> Camera:
    """Intrinsics of NYU Depth v2's colour camera (Silberman et al., ECCV 2012) for `part` of its frame at this size."""
    right, down = width / (640 * (part.right - part.left)), height / (480 * (part.bottom - part.top))
    cx, cy = 325.5824 - 640 * part.left, 253.7362 - 480 * part.top
    return Camera(518.8579, 519.4696, cx, cy).scaled(down, right)


def camera_of(layout: str, packaging: Mapping[str, Any], height: int, width: int) -> Camera:
    """The camera of a set's images, resized to this size: the recorded one, or NYU's for the part that the set shows.

    `packaging` is the set's record. Without a size in it, as during an import, images have this size; a null size means
    that they differ, and then the camera is NYU's.
    """
    common = packaging.get("size", (height, width))
    size = common or (height, width)
    recorded = packaging.get("camera") if common else None
    camera = Camera(**recorded) if recorded else nyu_camera(*size, part=_part(layout, tuple(size)))
    return camera.scaled(height / size[0], width / size[1])


def _part(layout: str, size: tuple[int, ...]) -> Part:
    if layout == "mtan_nyuv2":
        return PACKAGED
    return CROPPED if layout == "nyud" and size == (425, 560) else WHOLE
