"""The conventions of targets, and the base class of layouts, which convert files to them.

A data set's folder holds the files of its layout and `packaging.json`, which import or the renderer writes. It records
what the files do not show: the convention of the normals, the common image size, the camera, what was derived.

Arrays returned (void is 255 everywhere, see `mtcp.core.tasks`): image (H, W, 3) uint8 RGB; semseg, human_parts, sal and
edge (H, W) uint8; depth (H, W) float32, metres (or a disparity); regression (H, W) float32; normals (H, W, 3) float32,
unit vectors in camera coordinates (x right, y down, z away from the viewer), pointing to the viewer.

`mtcp.data.formats.described` reads every set that a description fully specifies. Any other layout is a subclass of
`Layout` that finds the files, with one method `_<kind>(task, values, path, image_id)` for each kind of task that it
stores differently.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mtcp.core.errors import UserError
from mtcp.core.tasks import VOID
from mtcp.data.formats import packaging
from mtcp.data.formats.file_kinds import it_is
from mtcp.data.formats.label_codings import classes_of, from_colours

#: Kinds of task whose images hold labels or a mask.
LABELS: Final = ("semseg", "human_parts", "sal")
#: File systems allow names of 255 bytes.
_LONGEST_ID: Final = 250

Split = Literal["train", "val"]
Places = Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]]


@dataclass(frozen=True)
class Traits:
    """What is known about one target of a set besides its files.

    `kind` is the task's kind. `labels`: how images number classes, unless import was told otherwise
    (`mtcp.data.formats.label_codings`). `unit`: of depth, unless import was told otherwise; None: integers are
    millimetres, floating-point values metres. `disparity`: whether depth is a disparity, which is not converted to
    metres. For the whole set: `names` of its classes, and bounds of the `median` depth (m).
    """

    kind: str
    labels: Literal["zero", "one", "colours"] = "zero"
    unit: str | None = None
    disparity: bool = False
    names: tuple[str, ...] = ()
    median: tuple[float, float] | None = None


class Layout(ABC):
    """A data set on disk. `ids("train")` and `ids("val")` list it, `image(id)` and `target(task, id)` read it.

    `classes` is the number of semantic classes, for layouts with several label maps; None: the first existing map.
    """

    kind: str
    #: The usual name of the packaging, its licence, and the usual number of images per split.
    title: str
    licence: str
    usual: Mapping[str, int]
    #: The folder by which a set of this layout is found, and a description of what it must contain.
    marker: str
    recognised_by: str
    #: Task -> (folder, suffixes) in the order in which they are tried; folders named ..._derived hold derived targets.
    places: Places
    #: What says how files are read, besides the code and `packaging`: a description.
    reading: Any = None

    def __init__(self, folder: Path, classes: int | None = None) -> None:
        self.folder, self.classes = folder, classes

    @cached_property
    def packaging(self) -> dict[str, Any]:
        """What import or the renderer recorded about this folder; empty for a folder that was not imported yet."""
        return packaging.read(self.folder)

    @abstractmethod
    def listed(self, split: Split) -> tuple[tuple[str, ...], list[str]]:
        """Return the split's usable image ids, and the problems of its list."""

    @abstractmethod
    def find(self, task: str, image_id: str) -> Path | None:
        """Return the file that holds `task` of an image, or None if there is none."""

    @abstractmethod
    def expected(self, task: str, image_id: str) -> Path:
        """Return the path where `task` of an image is expected, whether or not it exists."""

    @abstractmethod
    def image_path(self, image_id: str) -> Path:
        """Return the photograph's file; raises `UserError` where it is missing."""

    def traits(self, task: str) -> Traits:
        """What is known about the target of one task; by default, a standard task in its usual form."""
        return Traits(task)

    def list_files(self) -> list[Path]:
        """The files that list the splits, and other files that belong to no image."""
        return []

    def claims(self, name: Path, ids: Collection[str]) -> bool:
        """Whether the file `name` (inside the set) belongs to one of the images `ids`."""
        return any(self.folder / name in self.files(image_id) for image_id in ids)

    def ids(self, split: Split) -> tuple[str, ...]:
        """Return the split's image ids; raises `UserError` for a missing or empty list, bad or duplicate ids."""
        ids, problems = self.listed(split)
        if problems:
            raise UserError("; ".join(problems))
        return ids

    def image_mode(self, image_id: str) -> str:
        """Return the colour mode in which the photograph is stored; "RGB" needs no conversion."""
        return read_picture(self.image_path(image_id), image_id).mode

    def files(self, image_id: str) -> list[Path]:
        """Return the existing files of one image, the photograph first."""
        try:
            found = [self.image_path(image_id)]
        except UserError:
            found = []
        return found + [path for task in self.places if (path := self.find(task, image_id))]

    def problems(self, image_id: str) -> list[str]:
        """Return problems of an image's files that reading its targets does not reveal; empty for most layouts."""
        return []

    def doubts(self, image_id: str) -> list[str]:
        """Return warnings on an image's files that reading its targets does not reveal; empty for most layouts."""
        return []

    def image(self, image_id: str) -> NDArray[np.uint8]:
        """Return the photograph (H, W, 3) as `to_rgb` converts it."""
        path = self.image_path(image_id)
        return to_rgb(read_picture(path, image_id), path, image_id)

    def image_size(self, image_id: str) -> tuple[int, int]:
        """Return height and width of the photograph, from its header alone."""
        width, height = read_picture(self.image_path(image_id), image_id, decode=False).size
        return height, width

    def file(self, task: str, image_id: str) -> Path:
        """Return the file of one task; raises `UserError` where there is none."""
        path = self.find(task, image_id)
        if path is None:
            raise UserError(
                f"image '{image_id}' has no {task}: expected {self.expected(task, image_id)}; "
                f"complete the folder or take '{task}' out of the benchmark's tasks"
            )
        return path

    def target(self, task: str, image_id: str) -> NDArray[Any]:
        """Return the target of one task; raises `UserError` naming task, image and file where it cannot be used."""
        path = self.file(task, image_id)
        return self.decoded(task, self.stored(task, path, image_id), path, image_id)

    def stored(self, task: str, path: Path, image_id: str) -> NDArray[Any]:
        """Return the values of a target's file as stored, with the right rank.

        Layouts with other file formats (such as .mat) override this. Raises `UserError` for unreadable files.
        """
        kind = self.traits(task).kind
        if kind == "semseg" and self.coding(task, "coding") == "colours":
            return from_colours(read_vectors(path, image_id), f"image '{image_id}': {path}")
        if kind in LABELS and not (kind == "sal" and path.suffix.lower() == ".npy"):
            return read_labels(path, image_id)
        return read_vectors(path, image_id) if kind == "normals" else read_plane(path, image_id)

    def decoded(self, task: str, values: NDArray[Any], path: Path, image_id: str) -> NDArray[Any]:
        """Convert stored values to the conventions above, with the layout's method `_<kind>`."""
        return getattr(self, f"_{self.traits(task).kind}")(task, values, path, image_id)

    def coding(self, task: str, key: str) -> Any:
        """Return what `packaging` records about how this set stores a task; None where it is the usual way."""
        return self.packaging.get(task, {}).get(key)

    def _semseg(self, task: str, values: NDArray[np.uint8], path: Path, image_id: str) -> NDArray[np.uint8]:
        told = self.coding(task, "coding")
        return classes_of(values, told if told in ("zero", "one") else self.traits(task).labels)

    def _normals(self, task: str, values: NDArray[Any], path: Path, image_id: str) -> NDArray[np.float32]:
        values = scaled_normals(values)
        with np.errstate(invalid="ignore"):
            length = np.sqrt((values * values).sum(axis=-1, keepdims=True))
            valid = np.isfinite(length) & (length > 0.1)
        if self.coding(task, "z") == "viewer":
            values = values * np.array([1, 1, -1], np.float32)
        return np.where(valid, values / np.where(valid, length, 1), np.float32(VOID))

    def _edge(self, task: str, values: NDArray[Any], path: Path, image_id: str) -> NDArray[np.uint8]:
        picture, told = path.suffix.lower() == ".png", self.coding(task, "coding")
        if picture and told != "0/1/255":  # black and white: without void
            return (values > values.max() / 2).astype(np.uint8)
        if told == "0/255":
            return (values == VOID).astype(np.uint8)
        return mask(values)


def mask(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return stored values of a binary map, 0, 1 and 255 for void, as a target."""
    return np.where(values == VOID, VOID, values > 0.5).astype(np.uint8)


def read_ids(path: Path) -> tuple[tuple[str, ...], list[str]]:
    """Read one id per line: the usable ids, and messages on a missing or empty list and on bad or duplicate ids."""
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
    """Open an image file and, if `decode`, decode it; raises `UserError` where it is damaged."""
    try:
        picture = Image.open(path)
        if decode:
            picture.load()
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise UserError(
            f"image '{image_id}': {path} cannot be decoded ({error}){it_is(path) or '; it is truncated or no image'}: "
            "fetch it again"
        ) from error
    return picture


def to_rgb(picture: Image.Image, path: Path, image_id: str) -> NDArray[np.uint8]:
    """Convert a photograph to 8-bit RGB (H, W, 3); 16-bit grey is divided by 257 and rounded.

    Raises `UserError` for 32-bit integers and floating point, whose white is not defined.
    """
    if picture.mode in ("I", "F"):
        held = "integers" if picture.mode == "I" else "floating-point numbers"
        raise UserError(
            f"image '{image_id}': {path} has the mode {picture.mode} (32-bit {held}), in which no value stands for "
            "white: convert it to 8 bits"
        )
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray(np.rint(np.asarray(picture) / 257).astype(np.uint8))
    return np.asarray(picture.convert("RGB"))


def read_array(path: Path, image_id: str, mapped: bool = False) -> NDArray[Any]:
    """Read a .npy array (without pickled objects) or a PNG; raises `UserError` where it is damaged.

    `mapped`: only map the file of a .npy array into memory, for its shape.
    """
    if path.suffix.lower() == ".png":
        return np.asarray(read_picture(path, image_id))
    try:
        values = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except Exception as error:  # NumPy evaluates the header as Python, which raises many kinds on damaged files
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
    """Read whole numbers 0..255 (H, W), a label image of 1, 8 or 16 bits or a .npy array; else raises `UserError`."""
    values = read_array(path, image_id)
    if values.ndim != 2 or values.dtype.kind not in "bui" or values.min() < 0 or values.max() > VOID:
        raise UserError(
            f"image '{image_id}': {path} is not a label map: expected one channel of whole numbers 0..255, got "
            f"{values.dtype} of shape {values.shape} from {values.min()} to {values.max()}; export it as 8-bit grey or "
            "palette PNG, or, if these are the colours of VOC's palette, import with --label-coding colours"
        )
    return values.astype(np.uint8)


def read_vectors(path: Path, image_id: str, mapped: bool = False) -> NDArray[Any]:
    """Read an array of shape (H, W, 3), arguments as for `read_array`; raises `UserError` for any other shape."""
    values = read_array(path, image_id, mapped)
    if values.ndim != 3 or values.shape[2] != 3:
        raise UserError(f"image '{image_id}': {path} must have shape (H, W, 3), it has {values.shape}")
    return values


def require_depth_bits(values: NDArray[Any], where: str) -> None:
    """Raise `UserError` where depth or a disparity is stored in 8 bits or fewer: its steps are too coarse."""
    if values.dtype.itemsize == 1:
        raise UserError(f"{where} has 8 bits, too few for depth: expected a 16-bit image or a floating-point array")


def scaled_normals(values: NDArray[Any]) -> NDArray[np.float32]:
    """Scale stored normals to [-1, 1] (8-bit images hold n = 2v/255 - 1), without normalising or changing axes."""
    if values.dtype != np.uint8:
        return values.astype(np.float32)
    scaled = values.astype(np.float32) * np.float32(2 / 255) - 1
    scaled[np.abs(scaled).max(axis=-1) < 0.01] = 0  # zero lies between 127 and 128: both mean zero
    return scaled
