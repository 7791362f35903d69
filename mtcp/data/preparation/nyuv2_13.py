"""NYUv2 with 13 classes, as close to the loss-weighting literature's package as frames of NYUv2 allow.

Derived from a set in NYUD_MT's layout: each frame is cropped to the part that the package shows (rows 26 to 232 and
columns 22 to 297 of 240x320, found by comparing pixels, since the code that made the package is no longer available)
and enlarged to 288x384 (image bilinear, the rest nearest); 40 classes are mapped to 13, normals are derived from depth.

Differences from the package: frames of 240x320 are enlarged by 1.39 and have JPEG artefacts, the crop may be off by
some pixels, normals are smoother or noisier and lack the package's mask, and depth has no gaps where the source has
none. Results on this set can be compared with each other but never with published ones.
"""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.project_files import dvc_file
from mtcp.core.tasks import VOID
from mtcp.data.formats import packaging
from mtcp.data.formats.cameras import PACKAGED, camera_of, nyu_camera
from mtcp.data.formats.class_names import semseg_names
from mtcp.data.formats.layouts import Layout
from mtcp.data.formats.opening import layout_in
from mtcp.data.formats.writing import write_ids
from mtcp.data.locks import read_lock
from mtcp.data.preparation.checking import check_set, each
from mtcp.data.preparation.contents import content_digest
from mtcp.data.preparation.derive import normals_from_depth
from mtcp.data.preparation.importing import DERIVED, Imported, problem_list, record_set, require_trackable
from mtcp.data.preparation.installing import installing
from mtcp.data.preparation.sets import Progress, layout_wanted, open_set

HEIGHT, WIDTH = 288, 384
#: The 13 classes of Handa et al. (CVPR 2016), from 1, of the 40 of Gupta et al. (CVPR 2013), from 1; 0 is void.
MAP_40_TO_13: Final = (
    12, 5, 6, 1, 4, 9, 10, 12, 13, 6, 8, 6, 13, 10, 6, 13, 6, 7, 7, 5,
    7, 3, 2, 6, 11, 7, 7, 7, 7, 7, 7, 6, 7, 7, 7, 7, 7, 7, 6, 7,
)  # fmt: skip
NAME: Final = "nyuv2_13_derived"
_RECIPE: Final = "recipe nyuv2_13"


def derive_nyuv2_13(
    project: Project,
    source: str,
    name: str = NAME,
    *,
    images: int | None = None,
    track: bool = False,
    progress: Callable[[str], Progress] = lambda stage: lambda done, total: None,
) -> Imported:
    """Derive data/<name> from the set data/<source>; `images` limits each split to this many, evenly spaced.

    Raises `UserError` where the source is not an NYUD_MT set with 40 classes and depth, or where the new set would
    take the place of one that was not derived by this recipe.
    """
    _require_free(project, name)
    layout = open_set(project, source)
    _require(layout, source)
    splits: dict[str, tuple[str, ...]] = {"train": layout.ids("train"), "val": layout.ids("val")}
    if images is not None:
        splits = {split: _spaced(ids, images) for split, ids in splits.items()}
    require_trackable(project, name, track)
    lock: dict[str, Any] = {}
    with installing(project, name, lambda: record_set(project, name, lock, track)) as folder:
        for split, ids in splits.items():
            write_ids(folder / f"gt_sets/{split}.txt", list(ids))
        everything = sorted({image_id for ids in splits.values() for image_id in ids})
        bar = progress("deriving")
        for done, _ in enumerate(each(_Derive(layout, folder), everything), start=1):
            bar(done, len(everything))
        packaging.write(folder, _packaging(layout, source))
        findings = check_set(layout_in("nyud", folder), progress("checking"), {"semseg": (13,)})
        if findings.problems:
            raise UserError(problem_list(f"data/{source}", findings.problems))
        lock |= {
            "schema": 1,
            "name": name,
            "digest": content_digest(folder),
            "counts": {split: len(ids) for split, ids in splits.items()},
            "packaging": packaging.read(folder)["packaging"],
            "derived": {"all": f"data/{source}, {_RECIPE}", "normals": "depth, local plane fits"},
            "source": {"name": source, "digest": (read_lock(project, source) or {}).get("digest")},
            "licence": "NYU Depth v2 (Silberman et al., ECCV 2012): research use; do not redistribute",
        }
    return Imported(project.root / "data" / name, lock, findings, track)


def _require_free(project: Project, name: str) -> None:
    wanted = layout_wanted(project, name)
    if wanted not in (None, "nyud"):
        raise UserError(f"--as {name}: a benchmark expects a set in the layout {wanted} there; give another name")
    lock = read_lock(project, name)
    recorded = (lock or {}).get("derived", {}).get("all", "")
    known = lock is not None or dvc_file(project.root, name).exists()
    there = os.path.lexists(project.root / "data" / name)
    if (known or there) and not recorded.endswith(_RECIPE):
        raise UserError(
            f"--as {name}: data/{name} is another set, which is kept: give another name, such as {NAME}, or remove it "
            f"with data/{name}.lock.json and data/{name}.dvc"
        )


def _require(layout: Layout, source: str) -> None:
    if layout.kind != "nyud":
        raise UserError(f"data/{source} has the layout {layout.kind}: nyuv2_13 is derived from a set in NYUD_MT's")
    first = layout.ids("train")[0]
    labels = layout.target("semseg", first)
    if (labels[labels != VOID] >= len(MAP_40_TO_13)).any():
        raise UserError(f"data/{source} has more than 40 classes: the map to 13 is for NYUv2's 40")
    layout.file("depth", first)


def _spaced(ids: tuple[str, ...], count: int) -> tuple[str, ...]:
    if not 1 <= count <= len(ids):
        raise UserError(f"--images {count}: the split has {len(ids)} images")
    return tuple(ids[place] for place in np.linspace(0, len(ids) - 1, count).round().astype(int))


@dataclass(frozen=True)
class _Derive:
    """Derives one image; an object that can be pickled."""

    layout: Layout
    folder: Path

    def __call__(self, image_id: str) -> None:
        depth = self.layout.target("depth", image_id)
        normals = normals_from_depth(depth, camera_of(self.layout.kind, self.layout.packaging, *depth.shape))
        normals[normals[..., 0] == VOID] = 0
        labels = self.layout.target("semseg", image_id)
        mapped = np.array([*MAP_40_TO_13, *[0] * (VOID + 1 - len(MAP_40_TO_13))], np.uint8)[labels]
        millimetres = np.where(depth == VOID, 0, np.rint(1000 * depth)).astype(np.uint16)
        coded = np.rint((normals + 1) * 127.5).astype(np.uint8)
        image = part(self.layout.image(image_id))
        self._write(
            "images", image_id, np.asarray(Image.fromarray(image).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))
        )
        self._write("segmentation", image_id, nearest(part(mapped)))
        self._write("depth", image_id, nearest(part(millimetres)))
        self._write(DERIVED["normals"], image_id, nearest(part(coded)))

    def _write(self, place: str, image_id: str, values: NDArray[Any]) -> None:
        path = self.folder / place / f"{image_id}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(values).save(path)


def part(array: NDArray[Any]) -> NDArray[Any]:
    """Crop a frame (H, W, ...) to the part that the package shows."""
    height, width = array.shape[:2]
    top, bottom, left, right = PACKAGED
    return array[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]


def nearest(array: NDArray[Any]) -> NDArray[Any]:
    """Enlarge (h, w, ...) to 288x384 by nearest neighbour."""
    rows = ((np.arange(HEIGHT) + 0.5) * array.shape[0] / HEIGHT).astype(np.intp)
    columns = ((np.arange(WIDTH) + 0.5) * array.shape[1] / WIDTH).astype(np.intp)
    return np.ascontiguousarray(array[rows[:, None], columns])


def _packaging(layout: Layout, source: str) -> dict[str, Any]:
    return {
        "layout": "nyud",
        "packaging": f"NYUv2-13 derived from data/{source} ({layout.packaging.get('packaging', 'NYUD_MT')})",
        "size": [HEIGHT, WIDTH],
        "camera": asdict(nyu_camera(HEIGHT, WIDTH, PACKAGED)),
        "normals": {"source": "depth, local plane fits", "z": "away"},
        "classes": list(semseg_names("mtan_nyuv2", 13)),
        "derived": "nyuv2_13",
    }
