"""Parameter and input values of the reference vectors, as a pure function of name and shape.

A name reads `<group>.<...>.<owner>.<leaf>`. Draws come from NumPy's default generator seeded with the CRC-32 of the
name. Standard normal draws z become: inputs z; weights of a norm 1 + z/10; biases and running means z/10; relative
position tables z/5; all other weights z / sqrt(fan in). Running variances are uniform in [0.5, 1.5].
"""

import math
import zlib

import numpy as np


def value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 array that belongs to `name`."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    *_, owner, leaf = name.split(".")
    if leaf == "running_var" and not name.startswith("input."):
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    draw = generator.standard_normal(shape)
    if name.startswith("input."):
        scaled = draw
    elif leaf == "weight" and "norm" in owner:
        scaled = 1 + 0.1 * draw
    elif leaf in ("bias", "running_mean"):
        scaled = 0.1 * draw
    elif leaf == "relative_position_bias_table":
        scaled = 0.2 * draw
    else:
        scaled = draw / math.sqrt(math.prod(shape[1:]) or 1)
    return scaled.astype(np.float32)
