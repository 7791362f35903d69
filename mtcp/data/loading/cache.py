"""Packed splits: a memory-mapped file with a decoded split, shared by all processes of a machine."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtcp.core.code_digest import code_digest
from mtcp.core.files import replacing, write_text
from mtcp.core.hashing import file_digest, short_key
from mtcp.core.plugins import PACKAGE_ROOT
from mtcp.data.formats.layouts import Layout


def packed(
    layout: Layout,
    ids: tuple[str, ...],
    tasks: tuple[str, ...],
    kind: np.dtype,
    purpose: str,
    fill: Callable[[NDArray[np.void]], None],
) -> NDArray[np.void]:
    """Return one record of type `kind` per id, read-only and memory-mapped; `fill` makes them if they are absent.

    The file is in `.packed/` beside the data set. Its name contains a digest of what is packed (ids and record type)
    and one of its sources (files, description, decoding code): after a change it is packed again, and the older file is
    removed. A file that does not match the SHA-256 beside it is packed again, too; the check reads it once, which
    training does anyway.
    """
    folder = packed_folder(layout)
    stem = f"{layout.folder.name}-{purpose}-{short_key([ids, tasks, repr(kind.descr)])[:8]}"
    code = code_digest([PACKAGE_ROOT / "mtcp/data/loading/batches.py"])
    path = folder / f"{stem}-{short_key([split_fingerprint(layout, ids, tasks), code])}.npy"
    if not intact(path):
        with _alone(folder / f"{stem}.lock"):
            if not intact(path):
                with replacing(path) as temporary:
                    records = np.lib.format.open_memmap(temporary, "w+", kind, (len(ids),))
                    # On a full disk this raises an error; writing to the mapped file would kill the process.
                    with temporary.open("r+b") as file:
                        os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
                    fill(records)
                    records.flush()
                seal(path)
                for older in folder.glob(f"{stem}-*.*"):
                    if older not in (path, _digest_path(path)):
                        older.unlink()
    return np.load(path, mmap_mode="r")


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def seal(path: Path) -> None:
    """Write the SHA-256 of the stored file `path` beside it, for `intact`."""
    write_text(_digest_path(path), file_digest(path))


def intact(path: Path) -> bool:
    """Whether `path` exists and matches the SHA-256 beside it."""
    written = _digest_path(path)
    return path.exists() and written.exists() and written.read_text() == file_digest(path)


def packed_folder(layout: Layout) -> Path:
    """The folder beside a data set for files that are derived from it."""
    return layout.folder.parent / ".packed"


def split_fingerprint(layout: Layout, ids: tuple[str, ...], tasks: tuple[str, ...]) -> str:
    """Digest of how a set is read, and of the name, size and time of every file of the images `ids`."""
    total = hashlib.sha256(repr((layout.reading, layout.packaging)).encode())
    for image_id in ids:
        paths = [layout.image_path(image_id), *(layout.find(task, image_id) for task in tasks)]
        stats = [(path.relative_to(layout.folder).as_posix(), path.stat()) for path in paths if path]
        total.update(repr((image_id, [(name, s.st_size, s.st_mtime_ns) for name, s in stats])).encode())
    return total.hexdigest()[:16]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock file `path` inside the block; waits for other processes that hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
