"""The two folder layouts of the field, NYUD_MT and PASCAL_MT, read as they are found in the wild.

A data set's folder holds the files of its layout and `packaging.json`, which says what the files alone do not (the
convention of the normals, the common image size, the camera, what was derived); import and renderer write it.

Arrays returned (void is 255 everywhere, see `mtcp.core.tasks`): image (H, W, 3) uint8 RGB; semseg, human_parts, sal and
edge (H, W) uint8; depth (H, W) float32, metres; normals (H, W, 3) float32, unit vectors in camera coordinates
(x right, y down, z away from the viewer), pointing to the viewer.

A new layout is a subclass of `Layout` with its folders (`places`) and one method `_<task>(values, path, image_id)` for
each task, which brings what a file holds to these conventions. `stored` reads the file; override it for other formats.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mtcp.core.errors import UserError
from mtcp.core.tasks import VOID
from mtcp.data.formats import packaging
from mtcp.data.formats.depth_units import metres
from mtcp.data.formats.file_kinds import it_is
from mtcp.data.formats.label_codings import classes_of, from_colours
from mtcp.data.formats.matlab import read_context, read_parts
from mtcp.data.preparation.derive import edges_from_labels

IMAGE_ENDINGS: Final = (".jpg", ".png", ".jpeg")
ARRAY_ENDINGS: Final = (".npy", ".png")
#: Tasks whose pictures hold labels or a mask.
LABELS: Final = ("semseg", "human_parts", "sal")
#: File systems allow names of 255 bytes.
_LONGEST_ID: Final = 250


@dataclass(frozen=True)
class Layout:
    """A data set on disk. `ids("train")` and `ids("val")` list it, `image(id)` and `target(task, id)` read it."""

    folder: Path
    #: Number of semantic classes, for layouts with several label maps; None: the first that is there.
    classes: int | None = None

    kind: ClassVar[str]
    lists: ClassVar[str]
    #: What a folder of this layout must have, for people.
    recognised_by: ClassVar[str]
    images: ClassVar[str]
    #: How semseg pictures number classes unless import was told otherwise (`mtcp.data.formats.label_codings`).
    labels: ClassVar[Literal["zero", "one"]] = "zero"
    #: Task -> (folder, endings) in the order in which they are tried; folders called ..._derived hold derived targets.
    places: ClassVar[dict[str, tuple[tuple[str, tuple[str, ...]], ...]]]

    @cached_property
    def packaging(self) -> dict[str, Any]:
        """What the import or the renderer recorded about this folder; empty for a folder not imported yet."""
        return packaging.read(self.folder)

    def listed(self, split: Literal["train", "val"]) -> tuple[tuple[str, ...], list[str]]:
        """Return the split's usable image ids, and what is wrong with its list."""
        return read_ids(self.folder / self.lists / f"{split}.txt")

    def ids(self, split: Literal["train", "val"]) -> tuple[str, ...]:
        """Return the split's image ids; raises `UserError` for a missing or empty list, bad or duplicate ids."""
        ids, problems = self.listed(split)
        if problems:
            raise UserError("; ".join(problems))
        return ids

    def find(self, task: str, image_id: str) -> Path | None:
        """Return the file that holds `task` of an image, None where there is none."""
        for folder, endings in self.places[task]:
            path = _first(self.folder / folder, image_id, endings)
            if path is not None:
                return path
        return None

    def image_path(self, image_id: str) -> Path:
        """Return the photograph's file; raises `UserError` where it is missing."""
        path = _first(self.folder / self.images, image_id, IMAGE_ENDINGS)
        if path is not None:
            return path
        raise UserError(
            f"image '{image_id}': {self.folder / self.images / image_id}.jpg is missing though the split list "
            "names it; complete the folder and import it again"
        )

    def image_mode(self, image_id: str) -> str:
        """Return how the photograph is stored: "RGB" where nothing is converted."""
        return read_picture(self.image_path(image_id), image_id).mode

    def files(self, image_id: str) -> list[Path]:
        """Return the files of one image that are there, the photograph first."""
        try:
            found = [self.image_path(image_id)]
        except UserError:
            found = []
        return found + [path for task in self.places if (path := self.find(task, image_id))]

    def problems(self, image_id: str) -> list[str]:
        """Say what is wrong with an image's files that no target shows; empty for most layouts."""
        return []

    def doubts(self, image_id: str) -> list[str]:
        """Say what is worth a look in an image's files that no target shows; empty for most layouts."""
        return []

    def image(self, image_id: str) -> NDArray[np.uint8]:
        """Return the photograph (H, W, 3); grey and CMYK files are converted to RGB."""
        return np.asarray(read_picture(self.image_path(image_id), image_id).convert("RGB"))

    def image_size(self, image_id: str) -> tuple[int, int]:
        """Return height and width of the photograph, from its header alone."""
        width, height = read_picture(self.image_path(image_id), image_id, decode=False).size
        return height, width

    def file(self, task: str, image_id: str) -> Path:
        """Return the file of one task; raises `UserError` where there is none."""
        path = self.find(task, image_id)
        if path is None:
            folder, endings = self.places[task][0]
            raise UserError(
                f"image '{image_id}' has no {task}: expected {self.folder / folder / image_id}{endings[0]}; "
                f"complete the folder or take '{task}' out of the benchmark's tasks"
            )
        return path

    def target(self, task: str, image_id: str) -> NDArray[Any]:
        """Return the target of one task; raises `UserError` naming task, image and file where it cannot be used."""
        path = self.file(task, image_id)
        return self.decoded(task, self.stored(task, path, image_id), path, image_id)

    def stored(self, task: str, path: Path, image_id: str) -> NDArray[Any]:
        """Return the values of a target's file as they stand there, of the right rank.

        Formats of another kind (a layout's .mat files) override this; raises `UserError` for unreadable files.
        """
        if task == "semseg" and self.coding(task, "coding") == "colours":
            return from_colours(read_vectors(path, image_id), f"image '{image_id}': {path}")
        if task in LABELS:
            return read_labels(path, image_id)
        return read_vectors(path, image_id) if task == "normals" else read_plane(path, image_id)

    def decoded(self, task: str, values: NDArray[Any], path: Path, image_id: str) -> NDArray[Any]:
        """Bring stored values to the conventions above: each layout has one method `_<task>` that does it."""
        return getattr(self, f"_{task}")(values, path, image_id)

    def coding(self, task: str, key: str) -> Any:
        """Return what was recorded about how this set stores a task (see `packaging`), None where it is the usual."""
        return self.packaging.get(task, {}).get(key)

    def _semseg(self, values: NDArray[np.uint8], path: Path, image_id: str) -> NDArray[np.uint8]:
        told = self.coding("semseg", "coding")
        return classes_of(values, told if told in ("zero", "one") else self.labels)

    def _normals(self, values: NDArray[Any], path: Path, image_id: str) -> NDArray[np.float32]:
        values = scaled_normals(values)
        with np.errstate(invalid="ignore"):
            length = np.sqrt((values * values).sum(axis=-1, keepdims=True))
            valid = np.isfinite(length) & (length > 0.1)
        if self.coding("normals", "z") == "viewer":
            values = values * np.array([1, 1, -1], np.float32)
        return np.where(valid, values / np.where(valid, length, 1), np.float32(VOID))

    def _edge(self, values: NDArray[Any], path: Path, image_id: str) -> NDArray[np.uint8]:
        if path.suffix.lower() == ".png":  # a picture, black and white: without void
            return (values > values.max() / 2).astype(np.uint8)
        if self.coding("edge", "coding") == "0/255":
            return (values == VOID).astype(np.uint8)
        return np.where(values == VOID, VOID, values > 0.5).astype(np.uint8)


class NyudLayout(Layout):
    """NYUD_MT: semseg PNG (0 void, 1..K), depth in metres (.npy) or millimetres (16-bit .png), normals, edges."""

    kind = "nyud"
    lists = "gt_sets"
    recognised_by = "gt_sets/train.txt and gt_sets/val.txt, which list the images,"
    images = "images"
    labels = "one"
    places: ClassVar = {
        "semseg": (("segmentation", (".png",)),),
        "depth": (("depth", ARRAY_ENDINGS),),
        "normals": (("normals", ARRAY_ENDINGS), ("normals_derived", ARRAY_ENDINGS)),
        "edge": (("edge", ARRAY_ENDINGS), ("edge_derived", ARRAY_ENDINGS)),
    }

    def _depth(self, values: NDArray[Any], path: Path, image_id: str) -> NDArray[np.float32]:
        if values.dtype.itemsize == 1:
            raise UserError(f"image '{image_id}': {path} has 8 bits, too few for depth; expected 16-bit millimetres")
        if not np.isfinite(values).all():
            raise UserError(f"image '{image_id}': {path} holds NaN or infinite depth; mark missing depth by 0")
        return metres(values, self.coding("depth", "unit"))


class PascalLayout(Layout):
    """PASCAL_MT: semseg PNG (0..20, 255 void), human parts (.mat of PASCAL-Part, or PNG 0..6), and PNG pictures of
    saliency and normals, which are another network's output. Edges come from PASCAL-Context's label boundaries.

    An image without any body part is void in human_parts: the field neither trains nor judges parts on it.
    """

    kind = "pascal"
    lists = "ImageSets/Context"
    recognised_by = "ImageSets/Context/train.txt and ImageSets/Context/val.txt, which list the images,"
    images = "JPEGImages"
    places: ClassVar = {
        "semseg": (("semseg/VOC12", (".png",)), ("semseg/pascal-context", (".png",))),
        "human_parts": (("human_parts", (".mat", ".png")), ("human_parts_png", (".png",))),
        "sal": (("sal_distill", (".png",)),),
        "normals": (("normals_distill", (".png", ".npy")),),
        "edge": (("pascal-context/trainval", (".mat",)), ("edge", ARRAY_ENDINGS), ("edge_derived", ARRAY_ENDINGS)),
    }

    def stored(self, task: str, path: Path, image_id: str) -> NDArray[Any]:
        if path.suffix.lower() == ".mat":
            return (read_parts if task == "human_parts" else read_context)(path, image_id)
        return super().stored(task, path, image_id)

    def _human_parts(self, values: NDArray[np.uint8], path: Path, image_id: str) -> NDArray[np.uint8]:
        return values if ((values > 0) & (values != VOID)).any() else np.full_like(values, VOID)

    def _sal(self, values: NDArray[np.uint8], path: Path, image_id: str) -> NDArray[np.uint8]:
        return (values > (0 if self.coding("sal", "coding") == "0/1" else 127)).astype(np.uint8)

    def _edge(self, values: NDArray[Any], path: Path, image_id: str) -> NDArray[np.uint8]:
        if path.suffix.lower() == ".mat":
            return edges_from_labels(values, void=0)
        return super()._edge(values, path, image_id)


def _first(folder: Path, image_id: str, endings: tuple[str, ...]) -> Path | None:
    """The first file that is there; endings in capitals come last."""
    for ending in (*endings, *map(str.upper, endings)):
        path = folder / f"{image_id}{ending}"
        if path.is_file():
            return path
    return None


def read_ids(path: Path) -> tuple[tuple[str, ...], list[str]]:
    """Read one id per line: the usable ones, and a sentence for a missing or empty list, or a bad or duplicate id."""
    try:
        content = path.read_bytes()
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            return (), [f"split list {path} is UTF-16: save it as UTF-8; it names one image id per line"]
        lines = content.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        return (), [f"split list {path} cannot be read ({reason}); it names one image id per line"]
    given = [line.strip() for line in lines if line.strip()]
    if not given:
        return (), [f"split list {path} is empty: it must name at least one image id, one per line"]
    ids, problems = {}, []
    for image_id in given:
        if image_id in {".", ".."} or {"/", "\\"} & set(image_id):
            problems.append(f"split list {path}: id '{image_id}' has a path separator; ids are plain file stems")
        elif not image_id.isprintable() or len(image_id.encode()) > _LONGEST_ID:
            problems.append(f"split list {path}: {image_id[:20]!r}... is not a file stem; expected one id per line")
        elif image_id in ids:
            problems.append(f"split list {path}: id '{image_id}' is there twice; remove one")
        else:
            ids[image_id] = None
    return tuple(ids), problems


def read_picture(path: Path, image_id: str, decode: bool = True) -> Image.Image:
    """Open an image file, and decode it unless only its header is wanted; raises `UserError` where it is damaged."""
    try:
        picture = Image.open(path)
        if decode:
            picture.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"image '{image_id}': {path} cannot be decoded ({error}){it_is(path) or '; it is truncated or no image'}: "
            "fetch it again"
        ) from error
    return picture


def read_array(path: Path, image_id: str) -> NDArray[Any]:
    """Read a .npy array (never pickled objects) or a PNG; raises `UserError` where it is damaged."""
    if path.suffix.lower() == ".png":
        return np.asarray(read_picture(path, image_id))
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"image '{image_id}': {path} is not a readable .npy array ({error}){it_is(path)}: fetch it again"
        ) from error
    if values.dtype.kind not in "buif" or not values.size:
        raise UserError(f"image '{image_id}': {path} must hold numbers, it has {values.dtype} of shape {values.shape}")
    return values


def read_plane(path: Path, image_id: str) -> NDArray[Any]:
    """Read an array of shape (H, W), (H, W, 1) or (1, H, W) as (H, W); raises `UserError` for any other."""
    values = read_array(path, image_id)
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values[..., 0] if values.shape[2] == 1 else values[0]
    if values.ndim != 2:
        raise UserError(f"image '{image_id}': {path} must have shape (H, W), it has {values.shape}")
    return values


def read_labels(path: Path, image_id: str) -> NDArray[np.uint8]:
    """Read a picture of labels (H, W), of 1, 8 or 16 bits, values 0..255; raises `UserError` for any other."""
    values = np.asarray(read_picture(path, image_id))
    if values.ndim != 2 or values.max() > VOID:
        raise UserError(
            f"image '{image_id}': {path} is not a label map: expected one channel of values 0..255, got shape "
            f"{values.shape} with values up to {values.max()}; export it as 8-bit grey or palette PNG, or, if these "
            "are the colours of VOC's palette, import with --label-coding colours"
        )
    return values.astype(np.uint8)


def read_vectors(path: Path, image_id: str) -> NDArray[Any]:
    """Read an array of shape (H, W, 3); raises `UserError` for any other."""
    values = read_array(path, image_id)
    if values.ndim != 3 or values.shape[2] != 3:
        raise UserError(f"image '{image_id}': {path} must have shape (H, W, 3), it has {values.shape}")
    return values


def scaled_normals(values: NDArray[Any]) -> NDArray[np.float32]:
    """Bring stored normals to [-1, 1] (pictures hold n = 2v/255 - 1); neither normalised nor turned."""
    if values.dtype != np.uint8:
        return values.astype(np.float32)
    scaled = values.astype(np.float32) * np.float32(2 / 255) - 1
    scaled[np.abs(scaled).max(axis=-1) < 0.01] = 0  # zero lies between 127 and 128: both mean it
    return scaled
