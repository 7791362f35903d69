"""The packages of NYUv2 and Cityscapes that the loss-weighting literature trains on, as distributed by lorenmt/mtan.

`train/` and `val/` (the official test images) each have one folder per kind of content with `0.npy`, `1.npy` ...,
channels-last arrays. The files in `image/` determine the images. Their ids here are `train_0`, `val_0` ...

============  ================  =====================================================  ===========
folder        shape             content                                                void
============  ================  =====================================================  ===========
image         (H, W, 3)         RGB / 255, in [0, 1]
label         (H, W)            NYUv2: 13 classes, from 0                              -1
label_7       (H, W)            Cityscapes' 7 categories (`label` in LibMTL's copy)    -1
label_2, _19  (H, W)            Cityscapes with 2 or 19 classes                        -1
depth         (H, W, 1)         NYUv2: metres; Cityscapes: 16-bit disparity / 65535    0
normal        (H, W, 3)         NYUv2: unit vectors, x to the right of the image       zero vector
============  ================  =====================================================  ===========

NYUv2 comes at 288x384, Cityscapes at 128x256 or 256x512.
"""

import re
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from mtcp.core.data_sets import CODED
from mtcp.core.errors import UserError
from mtcp.core.tasks import VOID
from mtcp.data.formats.layouts import Layout, Traits, read_array, read_plane, read_vectors, require_depth_bits

#: An image counts as 8-bit RGB / 255 where no value times 255 is further than this from an integer.
_EXACT: Final = 0.01


class MtanLayout(Layout):
    """The common part of both packages: paths by split and number, and void values."""

    marker = "train/image"
    recognised_by = "train/image/0.npy and val/image/0.npy"
    images: ClassVar = "image"

    def traits(self, task: str) -> Traits:
        """What is known about the target of one task."""
        return Traits(task, disparity=task == "depth" and CODED[self.kind] == "disparity")

    def listed(self, split: Literal["train", "val"]) -> tuple[tuple[str, ...], list[str]]:
        """Return the ids `<split>_0`, `<split>_1` ... in numerical order, and the problems found."""
        folder = self.folder / split / self.images
        names = [path.name for path in folder.glob("*.npy")] if folder.is_dir() else []
        if not names:
            return (), [f"{folder} holds no image: expected 0.npy, 1.npy ..."]
        odd = sorted(name for name in names if not re.fullmatch(r"(0|[1-9]\d*)\.npy", name))
        numbers = sorted(int(name.removesuffix(".npy")) for name in names if name not in odd)
        problems = [f"{folder / name} is not an image of this layout: expected 0.npy, 1.npy ..." for name in odd]
        absent = sorted(set(range(numbers[-1] + 1)) - set(numbers)) if numbers else []
        if absent:
            problems.append(f"{folder}/{absent[0]}.npy is missing ({len(absent)} in all): the numbers must have no gap")
        return tuple(f"{split}_{number}" for number in numbers), problems

    def _place(self, folder: str, image_id: str) -> Path:
        split, _, number = image_id.partition("_")
        return self.folder / split / folder / f"{number}.npy"

    def find(self, task: str, image_id: str) -> Path | None:
        for folder, _ in self.places[task]:
            if (path := self._place(folder, image_id)).is_file():
                return path
        return None

    def expected(self, task: str, image_id: str) -> Path:
        return self._place(self.places[task][0][0], image_id)

    def image_path(self, image_id: str) -> Path:
        path = self._place(self.images, image_id)
        if not path.is_file():
            raise UserError(f"image '{image_id}': {path} is missing; complete the folder and import it again")
        return path

    def image_mode(self, image_id: str) -> str:
        return "RGB"

    def image(self, image_id: str) -> NDArray[np.uint8]:
        """Return the image in 8 bits, its original form; raises `UserError` where it is not RGB in [0, 1]."""
        return np.rint(255 * self._unit_image(image_id)).astype(np.uint8)

    def image_size(self, image_id: str) -> tuple[int, int]:
        height, width = read_vectors(self.image_path(image_id), image_id, mapped=True).shape[:2]
        return height, width

    def _unit_image(self, image_id: str) -> NDArray[np.floating]:
        path = self.image_path(image_id)
        values = read_vectors(path, image_id)
        if values.dtype.kind != "f" or not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise UserError(
                f"image '{image_id}': {path} must hold RGB / 255, floating point in [0, 1]; it has {values.dtype} from "
                f"{values.min():.4g} to {values.max():.4g}"
            )
        return values

    def doubts(self, image_id: str) -> list[str]:
        """Warn where rounding to 8 bits is lossy, for example for an image that was resized in floating point."""
        scaled = 255 * self._unit_image(image_id)
        off = float(np.abs(scaled - np.rint(scaled)).max())
        return [f"image '{image_id}' is not RGB / 255 of 8 bits (off by {off:.2g}): rounded"] if off > _EXACT else []

    def stored(self, task: str, path: Path, image_id: str) -> NDArray[Any]:
        return read_array(path, image_id) if task == "normals" else read_plane(path, image_id)

    def _semseg(self, task: str, values: NDArray[Any], path: Path, image_id: str) -> NDArray[np.uint8]:
        whole = np.isfinite(values).all() and (values == np.rint(values)).all()
        if not whole or values.min() < -1 or values.max() >= VOID:
            raise UserError(f"image '{image_id}': {path} must hold whole numbers, -1 (void) or a class from 0")
        return np.where(values < 0, VOID, values).astype(np.uint8)

    def _depth(self, task: str, values: NDArray[Any], path: Path, image_id: str) -> NDArray[np.float32]:
        require_depth_bits(values, f"image '{image_id}': {path}")
        if not np.isfinite(values).all() or values.min() < 0:
            raise UserError(f"image '{image_id}': {path} must hold finite numbers, 0 (void) or more")
        return np.where(values > 0, values, VOID).astype(np.float32)

    def _normals(self, task: str, values: NDArray[Any], path: Path, image_id: str) -> NDArray[np.float32]:
        if values.ndim != 3 or values.shape[2] != 3 or values.dtype.kind != "f":
            raise UserError(f"image '{image_id}': {path} must hold floating point of shape (H, W, 3)")
        return super()._normals(task, values, path, image_id)


class MtanNyuv2Layout(MtanLayout):
    """NYUv2 with 13 classes, depth and normals; 795 training and 654 test images of 288x384."""

    kind = "mtan_nyuv2"
    title = "NYUv2-13 (mtan)"
    licence = "NYU Depth v2 (Silberman et al., ECCV 2012): research use; do not redistribute"
    usual = MappingProxyType({"train": 795, "val": 654})
    places = MappingProxyType(
        {
            "semseg": (("label", (".npy",)),),
            "depth": (("depth", (".npy",)),),
            "normals": (("normal", (".npy",)),),
        }
    )


class MtanCityscapesLayout(MtanLayout):
    """Cityscapes with 7 classes (or 2, or 19) and disparity; 2975 training and 500 test images.

    Depth is a disparity / 65535 here, not metres: larger is nearer.
    """

    kind = "mtan_cityscapes"
    title = "Cityscapes (mtan)"
    licence = "Cityscapes (Cordts et al., CVPR 2016): non-commercial; do not redistribute"
    usual = MappingProxyType({"train": 2975, "val": 500})
    label_maps: ClassVar = {7: ("label_7", "label"), 19: ("label_19",), 2: ("label_2",)}
    places = MappingProxyType(
        {
            "semseg": tuple((folder, (".npy",)) for folders in label_maps.values() for folder in folders),
            "depth": (("depth", (".npy",)),),
        }
    )

    def find(self, task: str, image_id: str) -> Path | None:
        if task != "semseg" or self.classes is None:
            return super().find(task, image_id)
        folders = self.label_maps.get(self.classes, ())
        return next((path for folder in folders if (path := self._place(folder, image_id)).is_file()), None)

    def file(self, task: str, image_id: str) -> Path:
        path = self.find(task, image_id)
        if path is None and task == "semseg" and self.classes is not None:
            raise UserError(
                f"image '{image_id}' has no label map of {self.classes} classes: this layout has label_7, label_19 and "
                "label_2; change the benchmark's tasks.semseg.classes, or complete the folder"
            )
        return super().file(task, image_id)

    def files(self, image_id: str) -> list[Path]:
        """The image's files, including every label map."""
        folders = [folder for folder, _ in self.places["semseg"]]
        maps = [path for folder in folders if (path := self._place(folder, image_id)).is_file()]
        return [*dict.fromkeys([*super().files(image_id), *maps])]

    def problems(self, image_id: str) -> list[str]:
        """Report label maps with an invalid class."""
        found = []
        for classes, folders in self.label_maps.items():
            for folder in folders:
                path = self._place(folder, image_id)
                if not path.is_file():
                    continue
                try:
                    labels = self._semseg("semseg", read_plane(path, image_id), path, image_id)
                except UserError as error:
                    found.append(str(error))
                    continue
                highest = int(labels[labels != VOID].max(initial=0))
                if highest >= classes:
                    found.append(f"image '{image_id}': {path} has class {highest}, expected -1 to {classes - 1}")
        return found
