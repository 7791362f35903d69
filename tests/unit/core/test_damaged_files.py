"""A file damaged anywhere is read as it is, or refused in a sentence: what a library's decoder raises never escapes."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from mtcp.core.errors import UserError
from mtcp.data.formats.layouts import read_array, read_picture
from mtcp.data.formats.nyu import unpack_nyu
from mtcp.metrics.recompute import read_statistics
from mtcp.models.checkpoints import _read as read_checkpoint
from mtcp.models.weights import read_weights
from mtcp.report.samples import _webp

DRAWS = np.random.default_rng(0)
#: At most so many places of a file are damaged, evenly spaced.
PLACES = 100


def statistics(path: Path) -> None:
    values = {"final/depth/squares": DRAWS.random((2, 40)), "final/semseg/confusion": DRAWS.integers(0, 9, (2, 50))}
    np.savez_compressed(path, allow_pickle=False, ids=np.array(["a", "b"]), **values)


def depth(path: Path) -> None:
    np.save(path, DRAWS.random((6, 7)).astype(np.float32))


def picture(path: Path) -> None:
    Image.fromarray(DRAWS.integers(0, 255, (9, 9, 3), dtype=np.uint8)).save(path)


def labelled_frames(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["images"] = DRAWS.integers(0, 255, (2, 3, 8, 6), dtype=np.uint8)
        file["depths"] = DRAWS.random((2, 8, 6)).astype(np.float32)
        file["labels"] = DRAWS.integers(0, 800, (2, 8, 6)).astype(np.uint16)


def unpack(path: Path) -> None:
    folder = path.parent / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "depth").mkdir(parents=True)
    unpack_nyu(path, folder, lambda done, total: None)


#: By file name: what writes a small one, and what reads it.
FILES: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
    "images.npz": (statistics, read_statistics),
    "depth.npy": (depth, lambda path: read_array(path, "a")),
    "shape.npy": (depth, lambda path: read_array(path, "a", mapped=True)),
    "image.png": (picture, lambda path: read_picture(path, "a")),
    "image.jpg": (picture, lambda path: read_picture(path, "a")),
    "sheet.png": (picture, _webp),
    "encoder.pth": (lambda path: torch.save({"w": torch.ones(3, 4), "b": torch.ones(4)}, path), read_weights),
    "encoder.safetensors": (lambda path: save_file({"w": torch.ones(3, 4)}, path), read_weights),
    "model.safetensors": (
        lambda path: save_file({"w": torch.ones(3, 4)}, path, metadata={"mtcp": '{"seed": 0}'}), read_checkpoint,
    ),
    "labelled.mat": (labelled_frames, unpack),
}  # fmt: skip


def damaged(content: bytes) -> Iterator[bytes]:
    """`content` with a byte changed (one bit, all bits) at places all over it, and cut off there."""
    for place in np.unique(np.linspace(0, len(content) - 1, PLACES).astype(int)):
        for bits in (1, 8, 255):
            changed = bytearray(content)
            changed[place] ^= bits
            yield bytes(changed)
        yield content[:place]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FILES)
def test_damage_anywhere_is_a_sentence(tmp_path: Path, name: str) -> None:
    write, read = FILES[name]
    path = tmp_path / name
    write(path)
    read(path)
    refused = 0
    for content in damaged(path.read_bytes()):
        path.write_bytes(content)
        try:
            read(path)
        except UserError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > PLACES // 2
