"""Colours at the rays' hits: solid textures, light and sensor noise."""

import numpy as np
from numpy.typing import NDArray

from mtcp.data.rendering.scene import CHECKS, MARBLE, PLAIN, Scene
from mtcp.data.rendering.shapes import Array, Points, inner, triple


def shade(scene: Scene, index: NDArray[np.int16], point: Points, normal: Points) -> Array:
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

    # Ambient light from above is stronger than from below (y points down).
    ambient = np.float32(scene.ambient) * (np.float32(0.7) - np.float32(0.3) * normal[1])
    light = [ambient.copy() for _ in range(3)]
    for lamp in scene.lights:
        to = triple(np.float32(a) - b for a, b in zip(lamp.position, point, strict=True))
        squared = inner(to, to)
        facing = np.maximum(inner(to, normal), 0) / np.sqrt(squared)
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
    mixed = np.array(0x9E3779B9, np.uint32)
    for part in parts:
        mixed = np.asarray((mixed ^ np.asarray(part).astype(np.uint32)) * np.uint32(0x85EBCA6B))
        mixed = np.asarray((mixed ^ (mixed >> np.uint32(13))) * np.uint32(0xC2B2AE35))
        mixed = np.asarray(mixed ^ (mixed >> np.uint32(16)))
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


def grain(shape: tuple[int, ...], seed: int) -> Array:
    """Sensor noise of about unit variance: the sum of three uniform variables of variance 1/3 each."""
    counter = np.arange(shape[0] * shape[1] * shape[2], dtype=np.uint32).reshape(shape)
    total = np.zeros(shape, np.float32)
    for k in range(3):
        total += _hash(counter, seed & 0xFFFFFFFF, k).astype(np.float32) / np.float32(2**31) - 1
    return total
