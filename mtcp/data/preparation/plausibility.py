"""Plausibility of a data set as a whole: values can be in range in every image and still be in the wrong unit.

The input is the sums over all checked images (`mtcp.data.preparation.checking`). A doubt makes a set unusable until the
user accepts it with `mtcp data import --accept CODE`, or gives the option that the message names. All thresholds are
defined here, with reasons; docs/data.md has the values measured on NYUv2 and PASCAL.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mtcp.core.tasks import VOID
from mtcp.data.formats.depth_units import INVERSE, STEPS
from mtcp.data.preparation.pairing import POSES, axes


@dataclass(frozen=True)
class Doubt:
    """Something implausible about a whole set; `code` is the value for `--accept`."""

    code: str
    sentence: str


#: Code of each doubt -> what is doubted.
DOUBTS: Final = {
    "depth": "the unit of depth",
    "labels": "the coding of class labels",
    "masks": "the coding of edges and saliency",
    "pairing": "whether image and targets belong together",
    "normals": "the axes of normals",
    "regression": "the values of regression maps",
}


@dataclass(frozen=True)
class Expected:
    """What sets of a layout should look like.

    `depth` bounds the median over all pixels, in metres (None: anything), and `usual_depth` is the usual median.
    `classes` is the number of classes of the usual label maps (0: any), `highest` the highest class that a label map of
    the layout may have (41-way maps of NYU occur). `background`: the least share of class 0 among known pixels; 0 where
    class 0 is not a background.
    """

    kind: str = ""
    depth: tuple[float, float] | None = None
    usual_depth: float = 0.0
    classes: int = 0
    highest: int = VOID - 1
    background: float = 0.0


#: Depth: NYUv2's median is 2.5 m. Indoor scenes range from a desk at close range to a hall; the bounds allow more than
#: a factor of 2 either way, and units seen in practice are off by a factor of 3.9 (1/256 m) or more.
#: Background: 0.66 of PASCAL's known pixels, and 0 where labels are numbered differently.
_EXPECTED: Final[Mapping[str, Expected]] = {
    "nyud": Expected(depth=(1.0, 6.0), usual_depth=2.5, classes=40, highest=40),
    "pascal": Expected(classes=21, highest=20, background=0.05),
    "mtan_nyuv2": Expected(depth=(1.0, 6.0), usual_depth=2.5, classes=13, highest=12),
    "mtan_cityscapes": Expected(highest=18),  # a disparity, and several label maps
}
#: Largest ratio of the 95 % to the 5 % quantile of depth: 4.9 on NYUv2. Values with swapped bytes are spread evenly
#: over 16 bits, which gives a ratio of about 19 or more.
DEPTH_SPREAD: Final = 12.0
#: The least number of images from which missing values count as a doubt.
ENOUGH: Final = 20
#: Largest share of void pixels: 0.17 on NYUv2, 0.009 on PASCAL. Labels numbered from 0 that are read as numbered from 1
#: lose the wall, a fifth of NYUv2, to void.
VOID_SHARE: Final = 0.6
#: Least ratio of the highest class seen to the number declared, where there is no background: 1 on NYUv2, and 0.33
#: where 13-class maps are read as 40.
COARSE: Final = 0.6
#: Least ratio of the contrast of the photograph under a target's boundaries, unchanged, to that in the best changed
#: pose: 2.3 (labels) and 2.8 (depth) on NYUv2, 1.83 (labels) and 1.72 (parts) on PASCAL; with files shifted by one
#: image, 1.02, 1.05, 1.02 and 1.04. The same for the share of depth steps on label boundaries: 2.9 and 0.9 on NYUv2.
PAIRED: Final = 1.2
#: Least difference between the mean cosine of given normals with the normals of the depth and with those of the
#: mirrored depth: 0.52 on NYUv2 (with normals derived from the depth; measured ones agree less), and 0.00 with files
#: shifted by one image.
NORMALS_PAIRED: Final = 0.1
#: Least share of one sign for the z component of normals: visible surfaces face the viewer, so z has one sign.
ONE_SIGN: Final = 0.97

#: A known coding is suggested if it brings the median within this factor of the usual one.
LIKELY: Final = 2.0

#: Bins of depth in metres: 200 per decade, 1.2 % apart, over a range that covers every unit.
DEPTH_BINS: Final = np.logspace(-5, 6, 11 * 200 + 1)
#: Codings of depth seen in practice, by stored steps per metre: TUM and Matterport use 5000 and 4000, KITTI 256, others
#: the whole range of 16 bits for 10 m or 1 m, or integers in a coarser unit.
_STEPS: Final = {
    "integer": (1, 10, 100, 256, 4000, 5000, 6553.5, 10_000, 65_535),
    "float": (0.001, 0.1, 5, 6, 10, 100, 256, 1000, 5000),
}


def expected_of(kind: str, classes: int = 0, median: tuple[float, float] | None = None) -> Expected:
    """Return what is expected of a layout's sets: measured for known layouts, else from the description."""
    highest = classes - 1 if classes else VOID - 1
    usual = float(np.sqrt(median[0] * median[1])) if median else 0.0
    found = _EXPECTED.get(kind, Expected(depth=median, usual_depth=usual, classes=classes, highest=highest))
    return replace(found, kind=kind)


def depth_histogram(depth: NDArray[np.float32]) -> NDArray[np.int64]:
    """Counts of valid depths (metres) in `DEPTH_BINS`; values outside count in the outermost bins."""
    low, high = np.log10(DEPTH_BINS[0]), np.log10(DEPTH_BINS[-1])
    count = len(DEPTH_BINS) - 1
    place = (np.log10(depth) - np.float32(low)) * np.float32(count / (high - low))
    return np.bincount(np.clip(place, 0, count - 1).astype(np.int32), minlength=count)


def depth_quantile(histogram: NDArray[np.int64], share: float) -> float:
    """Depth in metres below which `share` of the counted pixels lie, accurate to 1.2 %."""
    cumulated = np.cumsum(histogram)
    place = int(np.searchsorted(cumulated, share * cumulated[-1]))
    return float(np.sqrt(DEPTH_BINS[place] * DEPTH_BINS[place + 1]))


def judge_depth(expected: Expected, sums: Mapping[str, NDArray[Any]], form: str) -> list[Doubt]:
    """Check median and spread of depth against what is expected of the layout.

    `form` is how depth is stored: "integer" (read as millimetres), "float" (as metres) or "told" (the unit was given).
    """
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
    bounds = f"{expected.depth[0]:g} to {expected.depth[1]:g} m"
    usual, remedy = f"data/{expected.kind}.yaml expects {bounds}", "correct `unit` or `median` there"
    if expected.kind in _EXPECTED:
        usual = f"{expected.kind} sets have {bounds} (NYUv2: {expected.usual_depth:g})"
        remedy = "say which: --depth-unit UNIT"
    read_as = {"integer": "millimetres", "float": "metres", "told": "the unit given"}[form]
    return [
        Doubt(
            "depth",
            f"depth of the whole set, read as {read_as}, has a median of {median:.3g} m; {usual}: "
            f"probably another unit{_likely(median, expected.usual_depth, form)}; {remedy}",
        )
    ]


def _likely(median: float, usual: float, form: str) -> str:
    """Name the codings that would give the usual median, the likeliest first."""
    if form == "told":
        return ""
    stored = median * (1000 if form == "integer" else 1)
    found = {unit_name(steps): abs(np.log(stored / steps / usual)) for steps in _STEPS[form]}
    if form == "float":
        found[INVERSE] = abs(np.log(1 / stored / usual))
    likely = sorted((off, name) for name, off in found.items() if off < np.log(LIKELY))
    return f", likely {' or '.join(name for _, name in likely[:2])}" if likely else ""


def unit_name(steps: float) -> str:
    """The value of `--depth-unit` for this many stored steps per metre."""
    return {value: name for name, value in STEPS.items()}.get(steps, f"1/{steps:g}")


def judge_labels(
    usual: Expected, coding: str, sums: Mapping[str, NDArray[Any]], declared: Collection[int] = ()
) -> list[Doubt]:
    """Check semseg and human parts: seen against expected classes, share of void, stored values.

    `declared` are the numbers of classes that benchmarks on this set declare; empty: the layout's usual number.
    """
    sentences = []
    if "semseg" in sums and usual.classes:
        sentences += _judge_classes(sums, coding, set(declared) or {usual.classes}, usual)
    parts = sums.get("human_parts")
    if parts is not None and not parts[:VOID].any():
        sentences.append("human_parts has no body part in any image: the masks are empty, or of another coding")
    elif parts is not None and not parts[2:VOID].any():
        sentences.append("human_parts has one part only: these are masks of persons, not the six parts")
    return [Doubt("labels", sentence) for sentence in sentences]


def _judge_classes(sums: Mapping[str, NDArray[Any]], coding: str, expected: set[int], usual: Expected) -> list[str]:
    known, stored, many = (
        sums["semseg"][:VOID],
        sums.get("semseg stored", np.zeros(256)),
        sums["semseg labelled"][0] >= ENOUGH,
    )
    highest, seen = int(np.nonzero(known)[0].max(initial=-1)), np.count_nonzero(known)
    top, wanted = int(np.nonzero(stored[:VOID])[0].max(initial=0)), max(expected)
    if coding == "one" and stored[VOID]:
        if top < wanted:
            return [f"labels run from 0 to {top} with 255 beside: they are numbered from 0; say --label-coding zero"]
        return [f"labels have both 0 and 255, and 1 to {top}: 0 is read as void, in 41-way maps it is a class"]
    if (
        coding == "one"
        and not usual.background
        and many
        and seen >= 0.9 * (wanted - 1)
        and top == wanted - 1
        and wanted > 2
    ):
        return [f"class {wanted} of {wanted} is in no image: they are numbered from 0; say --label-coding zero"]
    if many and known[0] < usual.background * known.sum():
        return [f"background is {known[0] / known.sum():.0%} of the labels: numbered from 1? Say --label-coding one"]
    if wanted <= highest <= usual.highest:  # above that, each image is reported
        hint = "41-way labels: " if highest == 40 and wanted == 40 else ""
        return [
            f"{hint}labels have class {highest} (numbered from 0), {wanted} classes are declared: set `classes` in the "
            "benchmark's file to what the maps hold, or import maps of the declared classes"
        ]
    if not many:
        return []
    if seen <= 1:
        return ["labels hold one class only in all images: empty masks, or not label maps"]
    if not usual.background and highest + 1 <= COARSE * min(expected):
        return [
            f"labels have {highest + 1} classes, {min(expected)} are declared: a coarser map (NYU's of 13)? Set "
            "`classes` in the benchmark's file, or import maps of the declared classes"
        ]
    void = sums["semseg"][VOID] / sums["semseg"].sum()
    return [f"{void:.0%} of the label pixels are void: another coding?"] if void > VOID_SHARE else []


def judge_masks(sums: Mapping[str, NDArray[Any]], images: int) -> list[Doubt]:
    """Check saliency and edges over all `images`: both values must occur."""
    if images < ENOUGH:
        return []
    doubts = []
    for task in ("sal", "edge"):
        counts = sums.get(task)
        if counts is not None and not (counts[0] and counts[1]):
            value = "0" if counts[0] else "1" if counts[1] else "void"
            doubts.append(Doubt("masks", f"{task} is {value} at every known pixel of the set: another coding?"))
    return doubts


def moments(sums: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation from (number, sum, sum of squares); NaN if the number is 0."""
    number, total, squares = sums
    mean = total / number if number else float("nan")
    return float(mean), float(np.sqrt(max(squares / number - mean**2, 0))) if number else float("nan")


def judge_values(sums: Mapping[str, NDArray[Any]]) -> list[Doubt]:
    """Check a regression map's values: they must not all be equal."""
    if "regression" not in sums:
        return []
    mean, deviation = moments(sums["regression"])
    if deviation > 1e-6 * abs(mean):  # the precision of the sums of squares
        return []
    what = f"{mean:.6g} at every known pixel" if np.isfinite(mean) else "void at every pixel"
    return [Doubt("regression", f"regression is {what} of the set: is it the wrong file or coding?")]


def judge_pairs(sums: Mapping[str, NDArray[Any]]) -> list[Doubt]:
    """Check whether images, labels and depth belong together: they must match better unchanged than in other poses.

    Steps of depth or brightness also coincide with label boundaries by chance; the changed poses show how often.
    """
    turned_ones, bad = [], {}
    for name, fit in sums.items():
        if " on " in name and fit.shape == (5,) and fit[4] >= ENOUGH:
            stands, turned = fit[0], fit[1:4]
            second, best = np.sort(fit[:4])[2:]
            if best > stands and best > PAIRED * second:  # another pose stands out, as only the right one should
                how = POSES[int(fit[:4].argmax())]
                turned_ones.append(f"{name.split(' on ')[0]} looks {how} against the {name.split(' on ')[1]}")
            elif stands < PAIRED * turned.max():
                bad[name] = float(stands / max(turned.max(), 1e-9))
    if turned_ones:
        return [Doubt("pairing", "; ".join(turned_ones))]
    return [Doubt("pairing", _mismatch(sums, bad))] if bad else []


#: The order in which maps are suspected when pairs do not match.
_SUSPECTS: Final = ("image", "semseg", "depth", "human_parts", "sal")


def _mismatch(sums: Mapping[str, NDArray[Any]], bad: Mapping[str, float]) -> str:
    """Say which maps do not match, from the pairs that fail and how far their boundaries coincide."""
    culprit, others, found = _culprit(sums, bad), [], []
    its, does = ("their", "do") if culprit == "image" else ("its", "does")
    for name, ratio in bad.items():
        first, second = name.split(" on ")
        whose, other = f"the boundaries of {first}", _called(second)
        if culprit in (first, second):
            whose, other = f"{its} boundaries", _called(first if culprit == second else second)
            others.append(other)
        chance = " as often as by chance" if not found else ""
        found.append(f"{whose} coincide with those of {other} only {ratio:.2f} times{chance}")
    what = f"{_called(culprit)} {does} not match {' and '.join(sorted(others))}" if culprit else "the maps do not match"
    least = f"(at least {PAIRED:g} in a sound set)"
    return f"{what}: {', '.join(found)} {least}: are files one image off, or of another split?"


def _called(task: str) -> str:
    return "the photographs" if task == "image" else task


def _culprit(sums: Mapping[str, NDArray[Any]], bad: Mapping[str, float]) -> str:
    """The map whose every comparison fails, or empty: "image" for the photographs."""
    compared = [name.split(" on ") for name, fit in sums.items() if " on " in name and fit.shape == (5,)]
    failed = [name.split(" on ") for name in bad]
    own = sorted({task for pair in compared for task in pair} - set(_SUSPECTS))
    for suspect in (*_SUSPECTS, *own):
        mine = [pair for pair in compared if suspect in pair]
        if mine and all(pair in failed for pair in mine) and any(pair in failed for pair in mine):
            return suspect
    return ""


def judge_axes(sums: Mapping[str, NDArray[Any]]) -> list[Doubt]:
    """Check order and signs of the normals' channels, by the normals of the depth, else by which has a single sign."""
    if "normals on depth" in sums:
        stands, mirrored = sums["normals on depth"] / sums["normals compared"][0]
        order, signs = axes(stands)
        best = sum(sign * stands[channel, axis] for axis, (channel, sign) in enumerate(zip(order, signs, strict=True)))
        if best > _agreement(stands) + NORMALS_PAIRED:
            return [Doubt("normals", _axes_sentence(order, signs))]
        if sums["normals compared"][0] >= ENOUGH and _agreement(stands) < _agreement(mirrored) + NORMALS_PAIRED:
            return [Doubt("pairing", "normals do not match depth: they agree no better than with mirrored depth")]
        return []
    signs = sums.get("normals signs")
    if signs is None or not signs.sum(axis=0).all():
        return []
    share = signs.max(axis=0) / signs.sum(axis=0)
    if share[2] < ONE_SIGN and share[:2].max() > ONE_SIGN:
        axis = "xy"[int(share[:2].argmax())]
        return [
            Doubt(
                "normals", f"normals' {axis} has one sign nearly everywhere, which only z can: channels in BGR order?"
            )
        ]
    return []


def _agreement(products: NDArray[np.float64]) -> float:
    """Mean cosine for either sign of z, which is a convention that import detects."""
    return float(products[0, 0] + products[1, 1] + abs(products[2, 2]))


def _axes_sentence(order: tuple[int, ...], signs: tuple[int, ...]) -> str:
    if order != (0, 1, 2):
        stored = ["?"] * 3
        for axis, channel in enumerate(order):
            stored[channel] = "xyz"[axis]
        bgr = " (BGR pictures?)" if stored == ["z", "y", "x"] else ""
        return f"normals' channels are {', '.join(stored)} by the normals of the depth, expected x, y, z{bgr}"
    meanings = zip(("x (expected right)", "y (expected down)"), signs[:2], strict=True)
    wrong = [meaning for meaning, sign in meanings if sign < 0]
    return f"normals point the other way than depth says in {' and '.join(wrong)}"
