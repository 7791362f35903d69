"""The elements of a scene: parts with materials and annotations, lights and a camera."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from mtcp.data.rendering.camera import Camera
from mtcp.data.rendering.shapes import Shape, Vector, triple

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
    """One shape of a scene with its annotations: `label` is the class, `piece` the object to which it belongs."""

    shape: Shape
    label: int
    piece: int
    material: Material
    body_part: int = 0


@dataclass(frozen=True)
class Light:
    """A point light; a facing white surface at distance d (m) has radiance `power` / (1 + 0.15 d²) times `colour`."""

    position: Vector
    power: float
    colour: Vector = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Scene:
    """Parts, camera, lights, ambient light; sensor `noise` as a fraction of full scale."""

    parts: list[Part]
    camera: Camera
    lights: list[Light]
    ambient: float
    exposure: float = 1.0
    noise: float = 0.0


def drawn_material(
    draw: Random,
    grey: tuple[float, float],
    spread: float,
    patterns: Sequence[int],
    *,
    frequency: tuple[float, float],
    contrast: tuple[float, float],
    emission: float = 0.0,
) -> Material:
    """Draw a material: a level in `grey`, and a colour around it, at most `spread` of the way to 0 or 1."""
    level = draw.uniform(*grey)
    most = draw.uniform(0.0, spread) * min(level, 1 - level)
    colour = triple(level + draw.uniform(-most, most) for _ in range(3))
    pattern = patterns[int(draw.random() * len(patterns))]
    phase = triple(draw.random() for _ in range(3))
    return Material(colour, pattern, draw.uniform(*frequency), draw.uniform(*contrast), phase, emission)
