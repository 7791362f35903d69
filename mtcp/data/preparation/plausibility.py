"""Is a data set as a whole what it should be? Values can be in range, image by image, and still be in another unit.

Judged from the sums that the check of every image leaves (`mtcp.data.preparation.checking`). A doubt makes a set
unusable until somebody says that it is meant so: `mtcp data import --accept CODE`, or the switch that the sentence
names. All thresholds stand here, with their reason; docs/data.md has the values measured on NYUv2 and PASCAL.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mtcp.data.formats.depth_units import INVERSE, STEPS


@dataclass(frozen=True)
class Doubt:
    """Something about a whole set that is hardly meant: `code` is what `--accept` takes."""

    code: str
    sentence: str


#: Code of each doubt -> what is doubted.
DOUBTS: Final = {"depth": "the unit of depth"}


@dataclass(frozen=True)
class Expected:
    """What sets of a layout look like; None: nothing is expected.

    `depth` bounds the median over all pixels, in metres, and `usual_depth` is that of the field's set.
    """

    depth: tuple[float, float] | None = None
    usual_depth: float = 0.0


#: Depth: NYUv2's median is 2.6 m. Indoor scenes lie between a desk seen from close by and a hall; the bounds leave
#: more than a factor of 2 either way, and the units met in the wild are a factor of 3.9 (1/256 m) or more off.
EXPECTED: Final[Mapping[str, Expected]] = {
    "nyud": Expected(depth=(1.0, 6.0), usual_depth=2.6),
    "mtan_nyuv2": Expected(depth=(1.0, 6.0), usual_depth=2.6),
    "pascal": Expected(),
}
#: The 95 % quantile over the 5 % quantile of depth: 4.6 on NYUv2; pixels whose two bytes are swapped are spread
#: evenly over 16 bits, which makes it about 19 or more.
DEPTH_SPREAD: Final = 12.0
#: A known coding is named as likely where it brings the median within this factor of the usual one.
LIKELY: Final = 2.0

#: Bins of depth in metres: 200 to a decade, 1.2 % apart, so that no unit falls outside.
DEPTH_BINS: Final = np.logspace(-5, 6, 11 * 200 + 1)
#: Codings of depth met in the wild, by stored steps per metre: TUM and Matterport store 5000 and 4000, KITTI 256,
#: others the whole range of 16 bits over 10 m, 1 m, or the integers of a coarser unit.
_STEPS: Final = {
    "integer": (1, 10, 100, 256, 4000, 5000, 6553.5, 10_000, 65_535),
    "float": (0.001, 0.1, 5, 6, 10, 100, 256, 1000, 5000),
}


def depth_histogram(depth: NDArray[np.float32]) -> NDArray[np.int64]:
    """Counts of valid depths (metres) in `DEPTH_BINS`; values outside count in the outermost bins."""
    low, high = np.log10(DEPTH_BINS[0]), np.log10(DEPTH_BINS[-1])
    count = len(DEPTH_BINS) - 1
    place = (np.log10(depth) - np.float32(low)) * np.float32(count / (high - low))
    return np.bincount(np.clip(place, 0, count - 1).astype(np.int32), minlength=count)


def depth_quantile(histogram: NDArray[np.int64], share: float) -> float:
    """Depth in metres below which `share` of the counted pixels lie, to 1.2 %."""
    cumulated = np.cumsum(histogram)
    place = int(np.searchsorted(cumulated, share * cumulated[-1]))
    return float(np.sqrt(DEPTH_BINS[place] * DEPTH_BINS[place + 1]))


def judge_depth(kind: str, sums: Mapping[str, NDArray[Any]], form: str) -> list[Doubt]:
    """Judge median and spread of depth against what the layout promises; `form` is how it is stored.

    `form` is "integer" (read as millimetres), "float" (read as metres) or "told" (the unit was given).
    """
    expected = EXPECTED[kind] if kind in EXPECTED else Expected()
    histogram = sums.get("depth")
    if expected.depth is None or histogram is None or not histogram.sum():
        return []
    low, median, high = (depth_quantile(histogram, share) for share in (0.05, 0.5, 0.95))
    if high > DEPTH_SPREAD * low:
        return [
            Doubt(
                "depth",
                f"depth of the whole set runs from {low:.3g} to {high:.3g} m (5 % and 95 % quantiles), further apart "
                f"than a factor of {DEPTH_SPREAD:g}: the two bytes of each value are swapped, or units are mixed; "
                "export it again",
            )
        ]
    if expected.depth[0] <= median <= expected.depth[1]:
        return []
    read_as = {"integer": "millimetres", "float": "metres", "told": "the unit given"}[form]
    return [
        Doubt(
            "depth",
            f"depth of the whole set, read as {read_as}, has a median of {median:.3g} m; {kind} sets have "
            f"{expected.depth[0]:g} to {expected.depth[1]:g} m (NYUv2: {expected.usual_depth:g}): it is stored in "
            f"another unit{_likely(median, expected.usual_depth, form)}; say which: --depth-unit UNIT",
        )
    ]


def _likely(median: float, usual: float, form: str) -> str:
    """Name the codings that would make the median the usual one, the likeliest first."""
    if form == "told":
        return ""
    stored = median * (1000 if form == "integer" else 1)
    found = {unit_name(steps): abs(np.log(stored / steps / usual)) for steps in _STEPS[form]}
    if form == "float":
        found[INVERSE] = abs(np.log(1 / stored / usual))
    likely = sorted((off, name) for name, off in found.items() if off < np.log(LIKELY))
    return f", likely {' or '.join(name for _, name in likely[:2])}" if likely else ""


def unit_name(steps: float) -> str:
    """The name that `--depth-unit` takes for so many stored steps per metre."""
    return {value: name for name, value in STEPS.items()}.get(steps, f"1/{steps:g}")
