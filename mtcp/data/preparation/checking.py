"""The check of a data set: every image and target is read once, and all problems are reported together, by image.

A problem makes a set unusable; a warning deserves a look. The same pass collects the statistics of the set.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags

from mtcp.core.data_sets import PICTURES
from mtcp.core.errors import UserError
from mtcp.core.processes import end_with_parent
from mtcp.core.tasks import VOID
from mtcp.data.formats.cameras import camera_of
from mtcp.data.formats.class_names import PARTS, semseg_names
from mtcp.data.formats.layouts import LABELS, Layout, read_picture, scaled_normals
from mtcp.data.preparation.derive import normals_from_depth
from mtcp.data.preparation.pairing import (
    contrast,
    depth_steps,
    fit_to_depth,
    fit_to_image,
    label_steps,
    normals_products,
)
from mtcp.data.preparation.plausibility import (
    Doubt,
    Expected,
    depth_histogram,
    depth_quantile,
    expected_of,
    judge_axes,
    judge_depth,
    judge_labels,
    judge_masks,
    judge_pairs,
    judge_values,
    moments,
)

_SMALLEST: Final = 16
#: Normals are compared with depth on every 20th image, and in smaller sets on at least 32 images.
_EVERY, _AT_LEAST = 20, 32
_ORIENTATIONS: Final = ("up", "down", "facing", "side")


@dataclass
class Findings:
    """The findings on one image or, after `+=`, on a whole set."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    #: Sums over images by "task" or "task what": histograms, normals' orientation, agreement under flips.
    sums: dict[str, NDArray[Any]] = field(default_factory=dict)
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    #: By task, messages on images whose depth seems to be in another unit; used unless the whole set's is.
    odd_depths: dict[str, list[str]] = field(default_factory=dict)
    #: By task, the images where it is void everywhere.
    void: dict[str, list[str]] = field(default_factory=dict)

    def __iadd__(self, other: "Findings") -> "Findings":
        self.problems += other.problems
        self.warnings += other.warnings
        for task, sentences in other.odd_depths.items():
            self.odd_depths.setdefault(task, []).extend(sentences)
        for task, image_ids in other.void.items():
            self.void.setdefault(task, []).extend(image_ids)
        for name, values in other.sums.items():
            self.sums[name] = self.sums[name] + values if name in self.sums else values
        for size, count in other.sizes.items():
            self.sizes[size] = self.sizes.get(size, 0) + count
        return self

    def add_void(self, task: str, image_id: str, are: str = "is") -> None:
        """Warn of an image where `task` is void everywhere."""
        self.warnings.append(f"image '{image_id}': {task} {are} void everywhere")
        self.void[task] = [image_id]


def tasks_of(layout: Layout, ids: Iterable[str]) -> list[str]:
    """Tasks for which at least one image has a file."""
    wanted = list(ids)
    return [task for task in layout.places if any(layout.find(task, image_id) for image_id in wanted)]


def check_image(layout: Layout, image_id: str, tasks: list[str], with_depth: bool = True) -> Findings:
    """Read and check one image and its targets; damaged files become problems, and nothing is raised.

    `with_depth`: also compare normals with depth, which costs as much as everything else.
    """
    found = Findings()
    try:
        mode = layout.image_mode(image_id)
        image = layout.image(image_id)
        found.problems += layout.problems(image_id)
        found.warnings += layout.doubts(image_id)
    except UserError as error:
        return Findings(problems=[str(error)])
    if mode != "RGB":
        found.warnings.append(f"image '{image_id}' is stored as {mode}: it is read as 8-bit RGB")
    if camera := _turned(layout, image_id):
        found.warnings.append(f"image '{image_id}'{camera}: its targets must be stored likewise")
    height, width = image.shape[:2]
    found.sizes[height, width] = 1
    if min(height, width) < _SMALLEST:
        found.problems.append(f"image '{image_id}' is {height}x{width} pixels: expected at least {_SMALLEST} a side")
    targets = {}
    for task in tasks:
        try:
            path = layout.file(task, image_id)
            stored = layout.stored(task, path, image_id)
            target = layout.decoded(task, stored, path, image_id)
        except UserError as error:
            found.problems.append(str(error))
            continue
        if target.shape[:2] != (height, width):
            transposed = target.shape[:2] == (width, height)
            turned = f" (it is transposed{camera and f'; the photograph{camera}'})" if transposed else ""
            found.problems.append(
                f"image '{image_id}': {task} is {target.shape[0]}x{target.shape[1]}, the image "
                f"{height}x{width}{turned}: both must have one size"
            )
            continue
        targets[task] = target
        if target.dtype == np.uint8:
            found.sums[task] = np.bincount(target.ravel(), minlength=256)
        judge = _JUDGES.get(layout.traits(task).kind)
        if judge:
            judge(layout, task, image_id, stored, target, found)
    if min(height, width) >= _SMALLEST:
        found.sums |= _pairs(layout, image, targets, with_depth)
    return found


def _turned(layout: Layout, image_id: str) -> str:
    """What a photograph's EXIF says about turning it, which most programs do and this one does not; usually empty."""
    path = layout.image_path(image_id)
    if path.suffix.lower() not in PICTURES:
        return ""
    orientation = read_picture(path, image_id, decode=False).getexif().get(ExifTags.Base.Orientation, 1)
    return (
        "" if orientation in (0, 1) else f" has the EXIF orientation {orientation}, and is read as stored, not turned"
    )


def _pairs(
    layout: Layout, image: NDArray[np.uint8], targets: dict[str, NDArray[Any]], with_depth: bool
) -> dict[str, NDArray[Any]]:
    """Measure how well image and targets match each other (`mtcp.data.preparation.pairing`).

    Every map is compared with the photograph, and the standard task depth with semseg and normals.
    """
    steps, kinds = contrast(image), {task: layout.traits(task).kind for task in targets}
    lines = {task: label_steps(target) for task, target in targets.items() if kinds[task] in LABELS}
    lines |= {task: depth_steps(target) for task, target in targets.items() if kinds[task] == "depth"}
    sums = {f"{task} on image": fit_to_image(steps, drawn) for task, drawn in lines.items()}
    if "semseg" in lines and "depth" in lines:
        sums["depth on semseg"] = fit_to_depth(lines["semseg"], lines["depth"])
    if with_depth and "depth" in targets and "normals" in targets and not layout.traits("depth").disparity:
        camera = camera_of(layout.kind, layout.packaging, *image.shape[:2])
        derived = normals_from_depth(targets["depth"], camera)
        sums["normals on depth"] = normals_products(targets["normals"], derived)
        sums["normals compared"] = np.ones(1)
    return sums


def _expected(layout: Layout, task: str) -> Expected:
    """What is expected of a layout's sets: measured for the standard ones, from the description for users' sets."""
    traits = layout.traits(task)
    return expected_of(layout.kind, len(traits.names), traits.median)


def _judge_labels(
    layout: Layout, task: str, image_id: str, stored: NDArray[Any], target: NDArray[np.uint8], found: Findings
) -> None:
    highest, limit = int(target[target != VOID].max(initial=0)), _expected(layout, task).highest
    if highest > limit:
        found.problems.append(
            f"image '{image_id}': {task} has class {highest}, expected 0..{limit} and void: another label set?"
        )
    if (target == VOID).all():
        found.add_void(task, image_id)
    if stored.dtype == np.uint8:  # an 8-bit image
        found.sums[f"{task} stored"] = np.bincount(stored.ravel(), minlength=256)
    found.sums[f"{task} labelled"] = np.ones(1, np.int64)


def _judge_parts(
    layout: Layout, task: str, image_id: str, stored: NDArray[Any], target: NDArray[np.uint8], found: Findings
) -> None:
    highest = int(target[target != VOID].max(initial=0))
    if highest > 6:
        found.problems.append(f"image '{image_id}': {task} has part {highest}, expected 0..6")


def _judge_depth(
    layout: Layout, task: str, image_id: str, stored: NDArray[Any], target: NDArray[np.float32], found: Findings
) -> None:
    valid = target[target != VOID]
    if not valid.size:
        found.problems.append(f"image '{image_id}': {task} is missing (0) at every pixel")
        return
    if layout.traits(task).disparity:
        return
    wrong = "above 100 m" if valid.min() > 100 else "below 0.05 m" if valid.max() < 0.05 else ""
    if wrong:
        found.odd_depths[task] = [
            f"image '{image_id}': every {task} is {wrong} (median {np.median(valid):.4g}): stored in another unit? "
            "Expected metres as floating point, or millimetres as integers"
        ]
    found.sums[f"{task} odd" if wrong else task] = depth_histogram(valid)
    whole = np.issubdtype(stored.dtype, np.integer)
    found.sums[f"{task} form"] = np.array([whole, not whole], np.int64)


def _judge_normals(
    layout: Layout, task: str, image_id: str, stored: NDArray[Any], target: NDArray[np.float32], found: Findings
) -> None:
    raw = scaled_normals(stored)
    length = np.sqrt((raw * raw).sum(axis=-1))
    given = length > 0.1
    if not given.any():
        found.add_void(task, image_id, "are")
        return
    if np.mean(np.abs(length[given] - 1) < 0.1) < 0.95:
        found.problems.append(
            f"image '{image_id}': {task} are no unit vectors (median length {np.median(length[given]):.3f}): expected "
            "components in [-1, 1], or 8-bit pictures of n = 2v/255 - 1"
        )
    x, y, z = target[given].T
    found.sums[f"{task} orientation"] = np.array(
        [(y < -0.8).sum(), (y > 0.8).sum(), (np.abs(z) > 0.8).sum(), (np.abs(x) > 0.8).sum(), given.sum()]
    )
    found.sums[f"{task} z"] = np.array([raw[given][:, 2].sum(dtype=np.float64), given.sum()])
    found.sums[f"{task} signs"] = np.stack([(target[given] > 0.05).sum(axis=0), (target[given] < -0.05).sum(axis=0)])


def _judge_edge(
    layout: Layout, task: str, image_id: str, stored: NDArray[Any], target: NDArray[np.uint8], found: Findings
) -> None:
    share = (target == 1).sum() / max((target != VOID).sum(), 1)
    if share > 0.8:
        found.problems.append(
            f"image '{image_id}': {task} marks {share:.0%} of the pixels: expected 1 (or white) on edges alone"
        )


def _judge_regression(
    layout: Layout, task: str, image_id: str, stored: NDArray[Any], target: NDArray[np.float32], found: Findings
) -> None:
    valid = target[target != VOID].astype(np.float64)
    if not valid.size:
        found.add_void(task, image_id)
    found.sums[task] = np.array([valid.size, valid.sum(), np.square(valid).sum()])


_JUDGES: Final[dict[str, Callable[[Layout, str, str, NDArray[Any], NDArray[Any], Findings], None]]] = {
    "semseg": _judge_labels,
    "human_parts": _judge_parts,
    "depth": _judge_depth,
    "normals": _judge_normals,
    "edge": _judge_edge,
    "regression": _judge_regression,
}


def check_set(
    layout: Layout,
    progress: Callable[[int, int], None] = lambda done, total: None,
    classes: Mapping[str, Collection[int]] | None = None,
) -> Findings:
    """Check split lists and every image of a set, on all cores, then the set as a whole.

    `classes` are the numbers of classes that benchmarks declare for its tasks; none: the layout's usual number. Doubts
    that import was told to accept (`packaging`) are only warnings.
    """
    (train, bad_train), (val, bad_val) = layout.listed("train"), layout.listed("val")
    total = Findings(problems=bad_train + bad_val)
    both = sorted(set(train) & set(val))
    if both:
        total.problems.append(
            f"ids in both split lists: {len(both)} ('{both[0]}' first); train and val must not share an image"
        )
    ids = sorted({*train, *val})
    tasks = tasks_of(layout, ids)
    for done, found in enumerate(
        each(_Check(layout, tasks, frozenset(ids[:: max(1, min(_EVERY, len(ids) // _AT_LEAST))])), ids), start=1
    ):
        total += found
        progress(done, len(ids))
    _judge_whole(layout, tasks, total, classes or {})
    total.warnings[:0] = [
        f"{task}: all images of the split '{split}' are void, so {nothing}"
        for split, listed, nothing in (
            ("train", train, "none is trained on"),
            ("val", val, "networks are judged on none"),
        )
        for task, image_ids in total.void.items()
        if {*listed} <= {*image_ids}
    ]
    return total


def _judge_depths(layout: Layout, task: str, total: Findings) -> list[Doubt]:
    """Check the depth of the whole set; where only some images are in another unit, each is a problem."""
    forms, odd = total.sums.get(f"{task} form"), total.odd_depths.get(task, [])
    if forms is None:
        return []
    if 2 * len(odd) > forms.sum():  # most images: the unit of the whole set
        total.sums[task] = total.sums.get(task, 0) + total.sums[f"{task} odd"]
    else:
        total.problems += odd
    told = layout.coding(task, "unit") or layout.traits(task).unit
    form = "told" if told else ("integer", "float")[int(forms.argmax())]
    return judge_depth(_expected(layout, task), _of_kind(layout, task, total), form)


def _of_kind(layout: Layout, task: str, total: Findings) -> dict[str, NDArray[Any]]:
    """The sums of one task, with the task's name replaced by its kind."""
    kind = layout.traits(task).kind
    own = {name: values for name, values in total.sums.items() if name.split(" ")[0] == task}
    return {f"{kind}{name.removeprefix(task)}": values for name, values in own.items()}


def _judge_task(layout: Layout, task: str, total: Findings, classes: Collection[int]) -> list[Doubt]:
    """The doubts about one task of the whole set; the messages name a task that is not a standard one."""
    doubts = _judge_depths(layout, task, total)
    sums = _of_kind(layout, task, total)
    coding = layout.coding(task, "coding") or layout.traits(task).labels
    doubts += judge_labels(_expected(layout, task), coding, sums, classes)
    doubts += judge_masks(sums, sum(total.sizes.values())) + judge_values(sums) + judge_axes(sums)
    kind = layout.traits(task).kind
    return [replace(doubt, sentence=_named(task, kind, doubt.sentence)) for doubt in doubts]


def _named(task: str, kind: str, sentence: str) -> str:
    """A sentence about one kind of task as one about `task`, which may have a name of its own."""
    if task == kind:
        return sentence
    return f"{task}{sentence.removeprefix(kind)}" if sentence.startswith(f"{kind} ") else f"{task}: {sentence}"


def _judge_whole(layout: Layout, tasks: list[str], total: Findings, classes: Mapping[str, Collection[int]]) -> None:
    """Turn doubts about the whole set into problems, or into warnings if they were accepted."""
    doubts = [doubt for task in tasks for doubt in _judge_task(layout, task, total, classes.get(task, ()))]
    doubts += judge_pairs(total.sums)
    for doubt in doubts:
        if doubt.code in layout.packaging.get("accepted", ()):
            total.warnings.append(doubt.sentence)
        else:
            total.problems.insert(0, f"{doubt.sentence} (if it is meant: --accept {doubt.code})")


@dataclass(frozen=True)
class _Check:
    """`check_image` with its other arguments bound, as an object that can be pickled."""

    layout: Layout
    tasks: list[str]
    with_depth: frozenset[str]

    def __call__(self, image_id: str) -> Findings:
        return check_image(self.layout, image_id, self.tasks, image_id in self.with_depth)


def each(work: Callable[[str], Any], ids: list[str]) -> Iterator[Any]:
    """Yield `work(id)` for every id in order, computed on all cores if there are at least 64 ids."""
    cores = len(os.sched_getaffinity(0))
    if cores == 1 or len(ids) < 64:
        yield from map(work, ids)
        return
    with ProcessPoolExecutor(cores, initializer=end_with_parent) as pool:
        yield from pool.map(work, ids, chunksize=8)


def statistics(found: Findings, layout: Layout, classes: Mapping[str, Collection[int]] | None = None) -> dict[str, Any]:
    """Summarise the sums: class shares and names, void share, depth quantiles in metres, orientation shares.

    `classes` are the numbers of classes that benchmarks declare, as in `check_set`.
    """
    summary: dict[str, Any] = {"sizes": {f"{h}x{w}": count for (h, w), count in sorted(found.sizes.items())}}
    for task in layout.places:
        sums, kind = _of_kind(layout, task, found), layout.traits(task).kind
        if kind in sums:
            summary[task] = _summary(kind, sums[kind])
            if names := _names(layout, task, len(summary[task].get("shares", ())), (classes or {}).get(task, ())):
                summary[task]["names"] = list(names)
        elif "normals orientation" in sums:
            counts = sums["normals orientation"]
            summary[task] = {
                name: round(float(count / counts[-1]), 3) for name, count in zip(_ORIENTATIONS, counts, strict=False)
            }
    return summary


def _names(layout: Layout, task: str, seen: int, declared: Collection[int]) -> Sequence[str]:
    """The names of a class map's `seen` classes: as many as benchmarks have declared, if any has; else empty."""
    if layout.traits(task).kind == "human_parts":
        return PARTS[:seen]
    own = layout.packaging.get("classes", ()) if task == "semseg" else ()
    known = [own, layout.traits(task).names]
    known += [semseg_names(layout.kind, number) for number in declared or (seen,) if task == "semseg"]
    fitting = (names for names in known if len(names) >= seen and len(names) in (declared or (len(names),)))
    return next(fitting, ())[:seen]


def _summary(kind: str, sums: NDArray[Any]) -> dict[str, Any]:
    if kind == "depth":
        return {f"quantile_{q}": float(f"{depth_quantile(sums, q / 100):.3g}") for q in (5, 25, 50, 75, 95)}
    if kind == "regression":
        mean, deviation = moments(sums)
        return {"mean": float(f"{mean:.4g}"), "standard_deviation": float(f"{deviation:.4g}")}
    known = sums[:VOID]
    classes = int(np.nonzero(known)[0].max(initial=0)) + 1
    return {
        "void": round(float(sums[VOID] / sums.sum()), 4),
        "shares": [round(float(share), 4) for share in known[:classes] / max(known.sum(), 1)],
    }
