"""What a scene consists of: parts with materials and annotations, lights and a camera."""

from dataclasses import dataclass

from mtcp.data.rendering.camera import Camera
from mtcp.data.rendering.shapes import Shape, Vector

PLAIN, CHECKS, STRIPES, MARBLE = range(4)


@dataclass(frozen=True)
class Material:
    """Colour and solid texture: `pattern` modulates `colour` by ±`contrast` at `frequency` cells per metre."""

    colour: Vector
    pattern: int = PLAIN
    frequency: float = 4.0
    contrast: float = 0.0
    phase: Vector = (0.37, 0.61, 0.23)
    emission: float = 0.0


@dataclass(frozen=True)
class Part:
    """One shape of a scene with its annotations: `label` a class, `piece` the object that it belongs to."""

    shape: Shape
    label: int
    piece: int
    material: Material
    body_part: int = 0


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
