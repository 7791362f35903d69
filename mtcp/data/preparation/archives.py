"""Safe unpacking of untrusted archives: no paths outside the folder, no links, no devices, and a size limit."""

import errno
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Final

from mtcp.core.errors import UserError
from mtcp.data.formats.file_kinds import it_is

#: The largest known set (PASCAL_MT) unpacks to about 10 GiB.
LARGEST: Final = 100 * 2**30
#: What zipfile raises for entries with a password, or with unknown compression methods or names.
_STRANGE: Final = (RuntimeError, UnicodeDecodeError)
ENDINGS: Final = (".tgz", ".tar.gz", ".tar", ".tar.xz", ".tar.bz2", ".zip")


def is_archive(path: Path) -> bool:
    """Whether the file name is that of an archive."""
    return path.name.lower().endswith(ENDINGS)


def unpack(path: Path, folder: Path) -> None:
    """Unpack `path` into the existing `folder`; raises `UserError` for damage, unsafe entries or too little space."""
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
                _check_size(path, sum(entry.file_size for entry in entries), folder)
                for entry in entries:
                    _check_zip_entry(path, entry)
                archive.extractall(folder)
        else:
            with tarfile.open(path) as archive:
                # `data_filter` exists from Python 3.11.4 on; names and types are checked here in any case.
                archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
                total = 0
                for member in archive:  # one pass: a compressed archive has no table of contents
                    total += member.size
                    _check_size(path, total, folder, remaining=member.size)
                    member.name = member.name.lstrip("/")  # as tar itself does
                    _check_name(path, member.name)
                    if member.isfile() or member.isdir():
                        archive.extract(member, folder)
                    else:
                        raise UserError(
                            f"{path}: '{member.name}' is a link or device, which no data set needs: refused"
                        )
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, *_STRANGE) as error:
        raise _broken(path, error) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # a system error, such as a full disk
            raise
        raise _broken(path, error) from error


def _broken(path: Path, error: Exception) -> UserError:
    reason = str(error).partition("\n")[0].rstrip(":")  # tarfile lists every compression that it tried, one per line
    return UserError(f"{path} is a broken or truncated archive ({reason}){it_is(path)}: fetch it again")


def _check_name(path: Path, filename: str) -> None:
    name = PurePosixPath(filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in (name.parts or ("",))[0]:
        raise UserError(f"{path}: '{filename}' would leave the folder it is unpacked to: refused")


def _check_zip_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    _check_name(path, entry.filename)
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise UserError(f"{path}: '{entry.filename}' is a link or device, which no data set needs: refused")


def _check_size(path: Path, total: int, folder: Path, remaining: int | None = None) -> None:
    if total > LARGEST:
        raise UserError(f"{path} unpacks to more than {LARGEST / 2**30:.0f} GiB, more than any known set: refused")
    free = shutil.disk_usage(folder).free
    if (total if remaining is None else remaining) > free:
        raise UserError(
            f"{path} needs {total / 2**30:.1f} GiB, {folder.parent} has {free / 2**30:.1f} GiB free: free space"
        )
