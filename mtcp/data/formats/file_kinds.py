"""The type of a file by its first bytes: downloads and copies are often not what their names say."""

from pathlib import Path
from typing import Final

_BEGINNINGS: Final = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"MATLAB 5.0", "a MATLAB file of version 5 to 7"),
    (b"MATLAB 7.3", "a MATLAB file of version 7.3 (HDF5)"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"%PDF", "a PDF document"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself (run `git lfs pull`)"),
)
_PAGES: Final = (b"<!doctype html", b"<html", b"<head", b"<?xml")


def kind_of(path: Path) -> str:
    """Return the type of the file in words, regardless of its name; empty if unknown."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return ""
    if not start:
        return "empty"
    if start.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(_PAGES):
        return "a web page, saved instead of the file (a download that asked for a click)"
    if start[257:262] == b"ustar":
        return "a tar archive"
    return next((words for beginning, words in _BEGINNINGS if start.startswith(beginning)), "")


def it_is(path: Path) -> str:
    """Return "; it is a web page ..." as the end of a message; empty if the type is unknown."""
    words = kind_of(path)
    return f"; it is {words}" if words else ""
