"""The files of a data set on disk: their digests, and files that do not belong to it."""

import hashlib
from pathlib import Path
from typing import Final

from mtcp.core.hashing import digest, file_digest
from mtcp.data.formats import packaging
from mtcp.data.formats.layouts import Layout

#: Files that file managers and network file systems leave in folders; they are not part of a set.
_HARMLESS: Final = (".DS_Store", "Thumbs.db", "desktop.ini")
_HARMLESS_BEGINNINGS: Final = ("._", ".nfs", ".Trash")


def files_of(folder: Path) -> list[Path]:
    """All files of a set in order of name, except those left by file managers."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not harmless(path.relative_to(folder)))


def harmless(path: Path) -> bool:
    """Whether a file manager left this file (a path inside a set) or one of its folders."""
    return any(part in _HARMLESS or part == "__MACOSX" or part.startswith(_HARMLESS_BEGINNINGS) for part in path.parts)


def content_digest(folder: Path) -> str:
    """SHA-256 over the relative names and the bytes of all files of a data set, in order of name."""
    total = hashlib.sha256()
    for path in files_of(folder):
        line = f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}\n"
        total.update(line.encode(errors="surrogateescape"))  # names that are not UTF-8
    return total.hexdigest()


def fingerprint(folder: Path) -> str:
    """SHA-256 over names, sizes and times of all files: cheap; only if it changed is `content_digest` needed."""
    states = ((path, path.stat()) for path in files_of(folder))
    return digest([(path.relative_to(folder).as_posix(), seen.st_size, seen.st_mtime_ns) for path, seen in states])


def strays(layout: Layout) -> list[str]:
    """Names of the files that belong to no list and no image of the set."""
    ids = {*layout.listed("train")[0], *layout.listed("val")[0]}
    lists = {path.relative_to(layout.folder).as_posix() for path in layout.list_files()} | {packaging.FILE}
    names = [path.relative_to(layout.folder) for path in files_of(layout.folder)]
    return [name.as_posix() for name in names if name.as_posix() not in lists and not layout.claims(name, ids)]
