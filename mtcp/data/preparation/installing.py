"""Atomic installation of a data set with its records; on failure, the earlier set is restored.

The new set is built beside its destination and exchanged with the earlier one in one step. Only then are the steps done
that may fail (tracking, records); if they fail, the sets are exchanged back. A process that is killed in between leaves
the other set as `.<name>-swap`; the next process then keeps the set that the lock file records.
"""

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mtcp.core.errors import UserError, refusal
from mtcp.core.project import Project
from mtcp.core.project_files import dvc_file, lock_file
from mtcp.data.locks import read_lock
from mtcp.data.preparation.contents import content_digest

_HERE: Final = -100  # AT_FDCWD
_EXCHANGE: Final = 2  # RENAME_EXCHANGE


@contextmanager
def installing(project: Project, name: str, finish: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Yield an empty folder; on success it replaces data/<name> and `finish` is called, otherwise it is removed.

    If `finish` fails, the earlier set, data/<name>.dvc and data/<name>.lock.json are restored. data/<name> may be a
    symbolic link: its target is replaced, on the target's file system. Raises `UserError` where another process is
    installing the same set, or where the destination cannot be written.
    """
    place = place_of(project, name)
    try:
        with alone(place):
            _recover(project, name, place)
            for stale in place.parent.glob(f".{place.name}-new-*"):
                shutil.rmtree(stale)  # left by a killed process: under the lock, nobody else uses it
            folder = place.with_name(f".{place.name}-new-{secrets.token_hex(4)}")
            folder.mkdir()
            try:
                yield folder
                _exchange_and(finish, project, name, folder, place)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise UserError(f"data/{name} cannot be written: {refusal(error)}") from error


def recover(project: Project, name: str) -> None:
    """Clean up after a process that was killed while it installed data/<name>."""
    place = place_of(project, name)
    if _spare(place).exists():
        with alone(place):
            _recover(project, name, place)


def place_of(project: Project, name: str) -> Path:
    """The real path of data/<name>, with links resolved; raises `UserError` for broken links."""
    data = project.root / "data"
    if data.is_symlink() and not data.is_dir():
        raise UserError(
            f"data is a symbolic link to {data.readlink()}, which is not a folder: create it, or remove the link"
        )
    data.mkdir(exist_ok=True)
    place = (data / name).resolve()
    if not place.parent.is_dir():
        raise UserError(
            f"data/{name} is a symbolic link to {place}, whose folder does not exist: create {place.parent}"
        )
    return place


def _spare(place: Path) -> Path:
    return place.with_name(f".{place.name}-swap")


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Hold the lock of a set's real path; raises `UserError` where another process holds it."""
    with place.with_name(f".{place.name}.installing").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process is writing data/{place.name}: wait for it, then try again") from error
        yield


def _exchange_and(finish: Callable[[], None], project: Project, name: str, folder: Path, place: Path) -> None:
    """Exchange the new set with the earlier one and call `finish`; exchange back where that fails."""
    spare, tracked, lock = _spare(place), *_records(project, name)
    before = {path: path.read_bytes() if path.exists() else None for path in (tracked, lock)}
    _keep(before[tracked], _kept(tracked))
    folder.rename(spare)
    earlier = place.exists()
    exchange(spare, place) if earlier else spare.rename(place)
    try:
        finish()
    except BaseException:
        exchange(spare, place) if earlier else place.rename(spare)
        for path, content in before.items():
            _keep(content, path)
        raise
    finally:
        shutil.rmtree(spare, ignore_errors=True)
        _kept(tracked).unlink(missing_ok=True)


def _recover(project: Project, name: str, place: Path) -> None:
    """Keep the set that the lock file records, which is written last."""
    spare, (tracked, _) = _spare(place), _records(project, name)
    if not spare.exists():
        return
    recorded = (read_lock(project, name) or {}).get("digest")
    if recorded != (content_digest(place) if place.exists() else None) and recorded == content_digest(spare):
        exchange(spare, place) if place.exists() else spare.rename(place)
        if _kept(tracked).exists():
            _kept(tracked).replace(tracked)
        else:
            tracked.unlink(missing_ok=True)
    shutil.rmtree(spare, ignore_errors=True)
    _kept(tracked).unlink(missing_ok=True)


def _records(project: Project, name: str) -> tuple[Path, Path]:
    return dvc_file(project.root, name), lock_file(project.root, name)


def _kept(tracked: Path) -> Path:
    """Where the earlier .dvc file is kept while the new set is tracked."""
    return tracked.with_name(f".{tracked.name}-before")


def _keep(content: bytes | None, path: Path) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(content)


def exchange(first: Path, second: Path) -> None:
    """Exchange the names of two folders on one file system: atomically where supported, else in three steps."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None:
        if rename(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):  # not supported, as on some network file systems
            raise OSError(code, os.strerror(code), str(first))
    aside = second.with_name(f"{first.name}-aside")
    second.rename(aside)
    first.rename(second)
    aside.rename(first)
