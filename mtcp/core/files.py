"""Reading and atomic writing of files: a reader sees the old file or the new one, never a part."""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from mtcp.core.errors import UserError, refusal


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix); on success it is synced and renamed to `path`, else removed.

    Raises `UserError` where the folder cannot be written or the disk is full.
    """
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
        temporary.touch(exist_ok=False)  # not mkstemp, whose files only their owner can read, whatever the umask
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Raise `UserError` where the system refuses to write the file or to the folder `path` inside the block."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {refusal(error)}") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, with keys in the given order; NaN raises `ValueError`."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; raises `UserError` naming the file where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}): remove it and run the pipeline again") from error


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):
    """The safe loader, except that repeated keys, numbers that are not decimal, and loops are errors.

    The original keeps the last value of a key, and reads 010 as 8 and 1:30 as 90.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node in self.recursive_objects:
            raise yaml.constructor.ConstructorError(
                None, None, "an entry contains itself: write out what `*` stands for", node.start_mark
            )
        return super().construct_object(node, deep=True)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is a plain word or a number here; text with braces needs quotes", key.start_mark
                )
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key.value}' stands here and in line {seen[key.value]}: keep one", key.start_mark
                )
            seen[key.value] = line
            self._require_decimal(key, key.value)
            self._require_decimal(value, key.value)
        return super().construct_mapping(node, deep)

    def _require_decimal(self, node: yaml.Node, key: str) -> None:
        for inner in node.value if isinstance(node, yaml.SequenceNode) else ():
            self._require_decimal(inner, key)
        if node.tag not in _NUMBERS or not _NOT_DECIMAL.match(node.value):
            return
        number = _NUMBERS[node.tag](self, node)
        digits = node.value.lstrip("+-0_")
        plain = f"-{digits}" if node.value.startswith("-") else digits
        meant = f", or {plain} if that is meant" if digits.isdecimal() and plain != str(number) else ""
        raise yaml.constructor.ConstructorError(
            None, None, f"key '{key}': {node.value} stands for {number} in YAML: write {number}{meant}", node.start_mark
        )


_NUMBERS: Final = {f"tag:yaml.org,2002:{kind}": getattr(_Safe, f"construct_yaml_{kind}") for kind in ("int", "float")}
_NOT_DECIMAL: Final = re.compile(r"[-+]?(0_*[0-7bx][0-9a-fA-F_]*$|.*:)")


def read_yaml(path: Path, kind: type[dict] | type[list]) -> Any:
    """Read YAML that holds a mapping (`dict`) or a list.

    Raises `UserError` with file and line where it does not, where a key is repeated or a number is not decimal, or
    where it is not UTF-8.
    """
    try:
        content = yaml.load(read_utf8(path), _Loader)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: run the command from the project's folder") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        what = "" if isinstance(error, yaml.constructor.ConstructorError) else "no valid YAML: "
        raise UserError(f"{path}{line}: {what}{error.problem}") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply, or an entry contains itself (`*`): write it flatter") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, kind):
        wanted = {dict: "a mapping of keys to values", list: "a list"}[kind]
        raise UserError(f"{path} must hold {wanted}, not {type(content).__name__}")
    return content


def read_utf8(path: Path) -> str:
    """Read text without a byte order mark; raises `UserError` naming the line that is not UTF-8."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: byte {content[error.start]:#04x} is not UTF-8; save it as UTF-8"
        ) from error


def visible(folder: Path, pattern: str) -> list[Path]:
    """Return the entries of a folder that match, without the hidden ones of editors, and of killed processes."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def line_of(path: Path, keys: Sequence[str | int]) -> int | None:
    """Return the line where the entry at `keys` of a YAML file, or the nearest enclosing entry, begins."""
    line = None
    try:
        node = yaml.compose(read_utf8(path), _Loader)
    except (OSError, UserError, yaml.YAMLError):
        return None
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(key)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            found = (node.value[key],) * 2
        else:
            found = None
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON record sealed with the SHA-256 of its content, so that any later change is noticed on reading."""
    write_json(path, {**content, "seal": _seal(content)})


def read_record(path: Path) -> dict[str, Any]:
    """Read a sealed record; raises `UserError` where it is missing, damaged, or was edited."""
    content = read_json(path)
    seal = content.pop("seal", None) if isinstance(content, dict) else None
    if seal != _seal(content):
        raise UserError(f"{path} was changed after it was written: remove it and run the pipeline again")
    return content


def _seal(content: Any) -> str:
    # Through JSON first, so that the hashed content is what a reader gets (tuples become lists, keys become strings).
    plain = json.loads(json.dumps(content, allow_nan=False))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
