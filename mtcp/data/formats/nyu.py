"""NYU Depth v2's official labelled file, and the bundled lists for it and for PASCAL."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Final

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mtcp.core.errors import UserError
from mtcp.data.formats.file_kinds import it_is, kind_of
from mtcp.data.formats.writing import write_array

_IDS: Final = "{:04d}"


def bundled(name: str) -> list[str]:
    """Return the lines of a bundled list, without comments."""
    text = resources.files("mtcp.data").joinpath(f"bundled/{name}.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def nyu_class_map() -> NDArray[np.uint8]:
    """Map (895,) from NYU Depth v2's raw classes to the 40 of Gupta et al., CVPR 2013; 0 is void."""
    mapped = np.zeros(895, np.uint8)
    for line in bundled("nyud_map894to40"):
        raw, label = map(int, line.split())
        mapped[raw] = label
    return mapped


def unpack_nyu(path: Path, folder: Path, progress: Callable[[int, int], None]) -> None:
    """Write the official nyu_depth_v2_labeled.mat (HDF5) as a NYUD_MT folder, with one frame in memory at a time.

    Images become PNG (lossless), depth becomes .npy float32 metres (the in-painted `depths`), labels 40-class PNG.
    """
    try:
        with h5py.File(path) as file:
            missing = [name for name in ("images", "depths", "labels") if name not in file]
            if missing:
                raise UserError(f"{path} has no {', '.join(missing)}: expected NYU Depth v2's labelled .mat file")
            arrays = _checked_arrays(path, file)
            mapped, total = nyu_class_map(), len(arrays["images"])
            for name in ("images", "segmentation"):
                (folder / name).mkdir()
            for k in range(total):  # MATLAB stores columns first, so every frame is transposed
                image_id = _IDS.format(k + 1)
                Image.fromarray(arrays["images"][k].transpose(2, 1, 0)).save(folder / f"images/{image_id}.png")
                labels = arrays["labels"][k].T
                if labels.max() > 894:
                    raise UserError(f"{path}, frame {k + 1}: raw class {labels.max()}, expected 0..894")
                Image.fromarray(mapped[labels]).save(folder / f"segmentation/{image_id}.png")
                write_array(folder / f"depth/{image_id}.npy", arrays["depths"][k].T.astype(np.float32))
                progress(k + 1, total)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        if getattr(error, "errno", None):  # a system error, such as a full disk; HDF5 errors have no errno
            raise
        raise UserError(f"{path} is not a readable HDF5 .mat file ({error}){_instead(path)}: fetch it again") from error
    for split, name in (("train", "nyud_train_795"), ("val", "nyud_test_654")):
        ids = [image_id for image_id in bundled(name) if int(image_id) <= total]
        (folder / "gt_sets").mkdir(exist_ok=True)
        (folder / f"gt_sets/{split}.txt").write_text("".join(f"{image_id}\n" for image_id in ids), encoding="utf-8")


def _instead(path: Path) -> str:
    return "; it is truncated" if "HDF5" in kind_of(path) else it_is(path)


def _checked_arrays(path: Path, file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the arrays `images`, `depths` and `labels` as MATLAB wrote them: frames x (channels x) columns x rows.

    Raises `UserError` where their types or shapes differ from that.
    """
    arrays: dict[str, h5py.Dataset] = {}
    for name in ("images", "depths", "labels"):
        found = file[name]
        if not isinstance(found, h5py.Dataset):
            raise UserError(f"{path}: {name} is not an array, expected one as in NYU's own file")
        arrays[name] = found
    shapes = {name: array.shape for name, array in arrays.items()}
    counts = {name: shape[0] for name, shape in shapes.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise UserError(f"{path} has {found}: expected as many of each; it was cut or put together by hand")
    for name, kinds, wanted in (
        ("images", "u", "uint8"),
        ("depths", "f", "floating point"),
        ("labels", "ui", "integers"),
    ):
        kind = arrays[name].dtype
        if kind.kind not in kinds or (name == "images" and kind.itemsize != 1):
            raise UserError(f"{path}: {name} are {kind}, expected {wanted} as in NYU's own file")
    images = shapes["images"]
    if len(images) != 4 or images[1] != 3:
        raise UserError(
            f"{path}: images have shape {images}, expected frames x 3 x columns x rows as MATLAB writes them"
        )
    if images[2] < images[3]:
        raise UserError(
            f"{path}: frames are stored row by row ({images[2]}x{images[3]}), expected columns first as MATLAB writes "
            "them: another program wrote this file; convert it to the NYUD_MT layout instead"
        )
    for name in ("depths", "labels"):
        if shapes[name][1:] != images[2:]:
            raise UserError(f"{path}: {name} are {shapes[name][1:]}, the images {images[2:]}: both must have one size")
    return arrays
