"""Units in which depth is stored, and their names on the command line (`--depth-unit`)."""

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mtcp.core.errors import UserError
from mtcp.core.tasks import VOID

#: Steps per metre of the named units.
STEPS: Final = {"m": 1.0, "dm": 10.0, "cm": 100.0, "mm": 1000.0}
#: Stored values are 1 / metres.
INVERSE: Final = "inverse"


def steps_per_metre(unit: str) -> float:
    """Return the stored steps per metre: 100 for "cm", 5000 for "1/5000"; raises `UserError` for an unknown unit."""
    fraction = re.fullmatch(r"1/(\d+(?:\.\d+)?)", unit)
    steps = float(fraction[1]) if fraction else STEPS.get(unit, 0.0)
    if steps <= 0:
        raise UserError(
            f"depth unit '{unit}': expected {', '.join(STEPS)}, a fraction of a metre such as 1/5000, or {INVERSE} "
            "(stored values are 1 / metres)"
        )
    return steps


def metres(values: NDArray[Any], unit: str | None = None) -> NDArray[np.float32]:
    """Return stored depth (H, W) in metres, float32; 0, negative values and NaN become void.

    Without a `unit`, integers are millimetres and floating-point values are metres, as in NYUD_MT.
    """
    if unit is None:
        unit = "mm" if np.issubdtype(values.dtype, np.integer) else "m"
    values = values.astype(np.float32)
    known = values > 0
    if unit == INVERSE:
        scaled = 1 / np.where(known, values, np.float32(1))
    else:
        scaled = values / np.float32(steps_per_metre(unit))
    return np.where(known, scaled, np.float32(VOID))
