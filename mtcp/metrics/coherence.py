"""Coherence: how well the predictions for one image agree with each other, regardless of the ground truth.

MT-CP claims "geometric and predictive coherence" between tasks but reports no measure of it. The measures here are our
own, each computed from two predictions of one network (definitions and a worked example: docs/metrics.md):

- geometry: `depth_normals_angle`, the mean angle between predicted normals and the normals of the predicted depth,
  over all valid pixels, and `depth_normals_angle_near`, over those near a boundary of the true segmentation;
- boundaries: `depth_boundary_f`, `normals_boundary_f`, `edge_boundary_f`, the F (`ods_f` of
  `mtcp.metrics.boundaries`) of discontinuities of predicted depth and normals, and of predicted edges, against
  boundaries of the predicted segmentation, matched one to one within a tolerance;
- people: `parts_outside_person`, `person_without_parts`, `person_not_salient`, percentages of pixels.

A network that predicts the same everywhere may be coherent but wrong: read these together with the accuracies. The
coherence of the ground truths is the upper limit; independent single-task networks are the reference.

The functions take the maps of one image as NumPy arrays; they depend on neither networks nor cameras.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mtcp.metrics.boundaries import THRESHOLDS, boundary_counts, boundary_scores
from mtcp.metrics.meter import Statistics

#: The name of these statistics and metrics, in the place of a task's name.
COHERENCE: Final = "coherence"
#: Its metrics, and whether higher is better.
COHERENCE_METRICS: Final = {
    "depth_normals_angle": False,
    "depth_normals_angle_near": False,
    "depth_boundary_f": True,
    "normals_boundary_f": True,
    "edge_boundary_f": True,
    "parts_outside_person": False,
    "person_without_parts": False,
    "person_not_salient": False,
}
#: The tasks that are compared with the segmentation; tasks of other names are not.
TOGETHER: Final = frozenset({"human_parts", "depth", "sal", "normals", "edge"})
#: The metrics that Delta_c averages; variants of a metric (`_near`) are left out.
AVERAGED: Final = tuple(name for name in COHERENCE_METRICS if not name.endswith("_near"))
#: Thresholds of strengths: 0.04, 0.08 ... 0.96. Matching at all 99 takes longer than the rest of an evaluation.
_CUTS: Final = THRESHOLDS[3::4]
_COUNTS: Final = ("predicted", "matched_predicted", "matched_true")
#: Metric -> (numerator, denominator): the metric is the ratio of these statistics in per cent.
_SHARES: Final = {
    "parts_outside_person": ("parts_outside", "parts"),
    "person_without_parts": ("person_bare", "person"),
    "person_not_salient": ("person_faint", "person"),
}


def geometry(
    normals: NDArray[np.floating], of_depth: NDArray[np.floating], valid: NDArray[np.bool_], near: NDArray[np.bool_]
) -> Statistics:
    """Return the sums of one image: `angle`, `pixels`, and `angle_near`, `pixels_near` over the pixels `near`.

    `normals` and `of_depth` (normals of the depth) are (H, W, 3), of any length; `valid` and `near` are (H, W). The
    angle is atan2(|a x b|, a . b) in degrees; it is 90 for a zero vector and 180 for a non-finite one.
    """
    a, b = normals.astype(np.float64), of_depth.astype(np.float64)
    broken = np.asarray(~(np.isfinite(a).all(-1) & np.isfinite(b).all(-1)))
    a, b = np.where(broken[..., None], 0, a), np.where(broken[..., None], 0, b)
    # atan2(0, 0) is 0; adding a tiny number makes it 90 degrees.
    across = np.linalg.norm(np.cross(a, b), axis=-1) + np.finfo(float).tiny
    angle = np.where(broken, 180.0, np.degrees(np.arctan2(across, (a * b).sum(-1))))
    close = valid & near
    return {
        "angle": np.array(angle[valid].sum()),
        "pixels": count(valid),
        "angle_near": np.array(angle[close].sum()),
        "pixels_near": count(close),
    }


def count(where: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number () of true pixels."""
    return np.array(np.count_nonzero(where), np.int64)


def depth_contrast(depth: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the strength (H, W) in [0, 1] of discontinuities of a positive depth map (H, W).

    The square root of the larger, over rows and columns, of |d' - d"| / (d' + d"), where d' and d" are a pixel's two
    neighbours. The root spreads the small contrasts of smooth predictions over the thresholds and keeps their order.
    """
    return np.sqrt(np.maximum(*(np.abs(a - b) / (a + b) for a, b in _opposite(depth.astype(np.float64)))))


def normals_contrast(normals: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the strength (H, W) in [0, 1] of creases of a map of unit normals (H, W, 3).

    sqrt(sin(angle / 2)), where angle is the larger of the angles between a pixel's two neighbours in its row and in its
    column.
    """
    return np.sqrt(
        np.maximum(*(np.clip(np.linalg.norm(a - b, axis=-1) / 2, 0, 1) for a, b in _opposite(normals.astype(float))))
    )


def _opposite(values: NDArray) -> list[tuple[NDArray, NDArray]]:
    """The two neighbours of every pixel, vertically and horizontally; at the border one of them is the pixel itself."""
    padded = np.pad(values, [(1, 1), (1, 1)] + [(0, 0)] * (values.ndim - 2), mode="edge")
    return [(padded[2:, 1:-1], padded[:-2, 1:-1]), (padded[1:-1, 2:], padded[1:-1, :-2])]


def boundaries(strengths: Mapping[str, NDArray], boundary: NDArray[np.bool_], tolerance: float) -> Statistics:
    """Return the counts of one image for each of `strengths` (name -> (H, W) in [0, 1]) against the map `boundary`.

    Keys: `<name>_predicted`, `<name>_matched_predicted`, `<name>_matched_true` (24,) per threshold, and `<name>_true`;
    see `mtcp.metrics.boundaries.boundary_counts`. `tolerance` is a fraction of the diagonal.
    """
    return {
        f"{name}_{key}": values
        for name, strength in strengths.items()
        for key, values in boundary_counts(strength, [boundary], tolerance, _CUTS).items()
    }


def people(
    person: NDArray[np.bool_],
    parts: NDArray[np.bool_] | None,
    salient: NDArray[np.bool_] | None,
    valid: NDArray[np.bool_],
) -> Statistics:
    """Return pixel counts of one image: `person`, `parts`, `parts_outside`, `person_bare`, `person_faint`.

    Maps (H, W): pixels that the segmentation labels person, pixels of any human part, salient pixels, and pixels
    `valid` in all maps. Where a map is None, its counts are left out.
    """
    person = person & valid
    found: Statistics = {"person": count(person)}
    if parts is not None:
        parts = parts & valid
        found |= {
            "parts": count(parts),
            "parts_outside": count(parts & ~person),
            "person_bare": count(person & ~parts),
        }
    if salient is not None:
        found["person_faint"] = count(person & ~salient)
    return found


def coherence_metrics(statistics: Statistics) -> dict[str, float]:
    """Return the metrics pooled over all images in `statistics`, for the statistics that are present.

    NaN where there is nothing to evaluate: no valid pixel, no boundary, no person.
    """
    found: dict[str, float] = {}
    for suffix in ("", "_near"):
        if f"pixels{suffix}" in statistics:
            pixels = statistics[f"pixels{suffix}"].sum()
            angle = statistics[f"angle{suffix}"].sum()
            found[f"depth_normals_angle{suffix}"] = float(angle / pixels) if pixels else float("nan")
    for name in ("depth", "normals", "edge"):
        if f"{name}_true" in statistics:
            counts = {key: statistics[f"{name}_{key}"] for key in (*_COUNTS, "true")}
            found[f"{name}_boundary_f"] = boundary_scores(counts)["ods_f"]
    for metric, (part, whole) in _SHARES.items():
        if part in statistics:
            pixels = statistics[whole].sum()
            found[metric] = float(100 * statistics[part].sum() / pixels) if pixels else float("nan")
    return found
