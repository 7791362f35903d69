"""Download of a data set through `dvc import-url`, which records address, tag and digest of the file."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from mtcp.core.errors import UserError
from mtcp.core.hashing import file_digest
from mtcp.core.project import Project
from mtcp.data.locks import read_lock
from mtcp.data.preparation.archives import ENDINGS
from mtcp.data.preparation.importing import Imported, import_set, layout_of
from mtcp.data.preparation.installing import alone, place_of
from mtcp.data.preparation.sets import dvc, last_words


def fetch_set(project: Project, name: str, url: str, **options: Any) -> Imported:
    """Download `url` to data/<name>-source<ending>, tracked by DVC, and import it as data/<name>.

    Raises `UserError` where the download fails, is not a data set, or differs from the file that data/<name>.lock.json
    records.
    """
    layout_of(project, name)  # raises before a download that nothing could read
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or "drive.google.com" in parts.netloc:
        raise UserError(
            f"{url} cannot be fetched: expected http(s); from Google Drive download by hand, "
            f"then `mtcp data import {name} FILE`"
        )
    if not (project.root / ".dvc").is_dir():
        raise UserError(
            f"{project.root} is not a DVC repository: run `dvc init`, or download by hand and `mtcp data import`"
        )
    file = PurePosixPath(parts.path).name
    ending = next((ending for ending in (*ENDINGS, ".mat") if file.lower().endswith(ending)), None)
    if ending is None:
        raise UserError(f"{url} names no archive: expected a name that ends in {', '.join(ENDINGS)} or .mat")
    target = Path(f"data/{name}-source{ending}")
    with alone(place_of(project, name)), _earlier_kept(project.root / target):
        done = dvc(project.root, "import-url", "--force", url, str(target))
        if done.returncode:
            raise UserError(
                f"`dvc import-url {url}` failed ({last_words(done)}): check the address, or download by hand and import"
            )
        digest = file_digest(project.root / target)
        known = (read_lock(project, name) or {}).get("source", {}).get("sha256")
        if known not in (None, digest):
            raise UserError(
                f"{url} is not the file that data/{name}.lock.json records (sha256 {digest[:12]}, expected "
                f"{known[:12]}): it was changed; remove data/{name}.lock.json to take the new one"
            )
    return import_set(project, name, project.root / target, origin={"url": url, "sha256": digest}, **options)


@contextmanager
def _earlier_kept(archive: Path) -> Iterator[None]:
    """Remove what the block downloaded if it fails, and put an earlier archive and its DVC file back.

    After a kill, which leaves no time for this, the next call puts them back first: what is aside, since a kill between
    two steps leaves the other file in its place.
    """
    places = (archive, archive.with_name(f"{archive.name}.dvc"))
    aside = archive.with_name(f".{archive.name}-earlier")

    def put_back() -> None:
        for kept in aside.iterdir():
            kept.replace(archive.with_name(kept.name))
        aside.rmdir()

    if aside.exists():
        put_back()
    aside.mkdir()
    for place in filter(Path.exists, places):
        place.rename(aside / place.name)
    try:
        yield
    except BaseException:
        for place in places:
            place.unlink(missing_ok=True)
        put_back()
        raise
    shutil.rmtree(aside)
