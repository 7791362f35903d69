"""SHA-256 digests of written files: a file that changed since is reported and never used.

The records of a run and of its metrics contain the digests of the files beside them. Tables and reports have stable
names, so a stamp lies beside them: its name identifies their inputs, its content the files that were written.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mtcp.core.errors import UserError
from mtcp.core.files import read_record, write_record, write_text
from mtcp.core.hashing import file_digest


def digests(folder: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Return {name relative to `folder`: SHA-256} of `paths`."""
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}


def changed(folder: Path, written: Mapping[str, str]) -> Iterator[str]:
    """Yield a message for each file of `written` ({name: SHA-256}) that is missing in `folder` or was changed."""
    for name, expected in written.items():
        path = folder / name
        if not path.is_file():
            yield f"{path} is missing"
        elif file_digest(path) != expected:
            yield f"{path} is not the file that was written there (SHA-256 differs)"


def require_unchanged(folder: Path, written: Mapping[str, str], remedy: str) -> None:
    """Raise `UserError`, which ends in `remedy`, for the first file of `written` that changed."""
    for problem in changed(folder, written):
        raise UserError(f"{problem}: {remedy}")


@contextmanager
def stamping(stamp: Path, complete: bool = True) -> Iterator[list[Path]]:
    """Yield a list for the paths that the block writes; if it succeeds, they are stamped.

    Older stamps are removed first: with two of them present, changing a value and changing it back would leave stale
    files. They come back where the block fails before it has written anything. Output that is not `complete` (partial
    tables, a report of them) gets the stamp `partial_stamp` instead.
    """
    prefix, _, _ = stamp.stem.rpartition("-")
    before = {}
    for older in stamp.parent.glob(f"{prefix}-*{stamp.suffix}"):
        try:
            before[older] = older.read_text(encoding="utf-8")
            older.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"cannot remove {older}: {error.strerror}; change the folder's permissions") from error
    paths: list[Path] = []
    try:
        yield paths
    except BaseException:
        for older, content in before.items():
            write_text(older, content)
            if stamped_problems(older):
                older.unlink()
        raise
    write_record(stamp if complete else partial_stamp(stamp), {"files": digests(stamp.parent, paths)})


def partial_stamp(stamp: Path) -> Path:
    """The stamp of incomplete output with the same inputs as `stamp`: no step of the workflow asks for it."""
    prefix, _, key = stamp.stem.rpartition("-")
    return stamp.with_name(f"{prefix}-partial-{key}{stamp.suffix}")


def stamped_problems(stamp: Path) -> list[str]:
    """Return messages on the files that changed since `stamp` was written; none where there is no stamp."""
    if not stamp.exists():
        return []
    try:
        return list(changed(stamp.parent, read_record(stamp)["files"]))
    except UserError as error:
        return [str(error)]


def require_stamped(stamp: Path) -> None:
    """Raise `UserError` where a file differs from its digest in `stamp`; a missing file is only remade."""
    if stamp.exists():
        written = read_record(stamp)["files"]
        there = {name: value for name, value in written.items() if (stamp.parent / name).exists()}
        require_unchanged(stamp.parent, there, "remove it and run `snakemake` again")
