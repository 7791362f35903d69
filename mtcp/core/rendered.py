"""The settings of a rendered data set, which a benchmark gives under `rendered`."""

from typing import Literal

from pydantic import Field

from mtcp.core.randomness import LARGEST_SEED
from mtcp.core.validation import Model


class RenderSettings(Model):
    """Which scenes, how many, drawn from which seed."""

    preset: Literal["rooms", "people"] = Field(description="what the scenes show")
    train: int = Field(ge=1, le=1_000_000, description="scenes of the training split")
    test: int = Field(ge=1, le=1_000_000, description="scenes of the test split")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="another seed gives other scenes")
