"""SHA-256 digests: of canonical JSON, of files and of folders of weights."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from mtcp.core.errors import UserError

#: Hexadecimal digits of a key.
KEY_LENGTH: Final = 16


def digest(content: Any) -> str:
    """SHA-256 of `content` as canonical JSON (sorted keys), in hexadecimal."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def short_key(content: Any) -> str:
    """The first 16 hexadecimal digits of `digest`: the form of `train_key` and `eval_key`."""
    return digest(content)[:KEY_LENGTH]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weights_digest(path: Path) -> str:
    """SHA-256 over a weights file, or over the names and bytes of all files in a folder."""
    if not path.exists():
        raise UserError(f"weights {path} do not exist: correct `encoder.weights` in the benchmark's file")
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    return digest([[str(item.relative_to(path)), _file_digest_at(item, item.stat().st_mtime_ns)] for item in files])


@cache
def _file_digest_at(path: Path, _modified_ns: int) -> str:
    return file_digest(path)
