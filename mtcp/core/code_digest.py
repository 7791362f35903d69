"""Digests of code: the syntax trees of the modules that an entry point reaches by static import."""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

from mtcp.core.errors import UserError
from mtcp.core.hashing import digest
from mtcp.core.plugins import PACKAGE_ROOT

_PACKAGES: Final = ("mtcp", "baselines")
_PUBLIC: Final = "mtcp.api"
#: Modules that decide what runs, not what comes out: their result, the resolved configuration, is hashed itself.
_HASHED_BY_RESULT: Final = frozenset(
    f"mtcp.{name}"
    for name in (
        "core.code_digest", "core.config", "core.errors", "core.files", "core.hashing", "core.plugins",
        "data.locks", "store.environment", "store.keys", "store.plan",
    )
)  # fmt: skip


def code_closure(entries: Iterable[Path]) -> dict[str, Path]:
    """Return {module name: file} of the project's modules that `entries` reach by static import.

    Modules in `_HASHED_BY_RESULT` are left out, and neither they nor anything reached only through them count.
    """
    pending, found = list(entries), {}
    while pending:
        path = pending.pop()
        name = _module_name(path)
        if name in found or name in _HASHED_BY_RESULT:
            continue
        found[name] = path
        pending += _parsed(path, path.stat().st_mtime_ns)[1]
    return found


def code_digest(entries: Iterable[Path]) -> str:
    """Digest of the syntax trees, without docstrings, comments or layout, of all modules that `entries` reach."""
    return digest(sorted(_module_digest(name, path) for name, path in code_closure(entries).items()))


def _module_digest(name: str, path: Path) -> list[str]:
    return [name, _parsed(path, path.stat().st_mtime_ns)[0]]


@cache
def _parsed(path: Path, _modified_ns: int) -> tuple[str, tuple[Path, ...]]:
    """Return the digest of one file's syntax tree, and the project's files that it imports."""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except SyntaxError as error:
        raise UserError(
            f"{path} is no valid Python (line {error.lineno}: {error.msg}); mend it or move it away"
        ) from error
    imports = tuple(file for name in _imported_names(tree, path) if (file := _module_file(name, path)))
    _strip_docstrings(tree)
    return hashlib.sha256(_canonical(tree).encode()).hexdigest(), imports


def _canonical(node: Any) -> str:
    """Dump a syntax tree without positions, contexts and empty fields: equal for Python 3.11 and later."""
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if name not in ("ctx", "kind", "type_comment"))
        inner = ",".join(f"{name}={_canonical(value)}" for name, value in fields if value not in (None, []))
        return f"{type(node).__name__}({inner})"
    if isinstance(node, list):
        return "[" + ",".join(map(_canonical, node)) + "]"
    return repr(node)


def _strip_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                del body[0]


def _imported_names(tree: ast.Module, path: Path) -> Iterable[str]:
    """Names of modules that a file imports; names that `mtcp.api` passes on count as imported where they are defined.

    A plug-in that imports one class of the public interface does not depend on all that is exported there.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = _module_name(path).split(".")[: -node.level]
                base = ".".join([*package, *([base] if base else [])])
            if base == _PUBLIC and _module_name(path) != _PUBLIC:
                exported = _exports(PACKAGE_ROOT / "mtcp/api.py")
                yield from (exported.get(alias.name, base) for alias in node.names)
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def _exports(api: Path) -> dict[str, str]:
    """Return {name: module that defines it} of the public interface, from its import statements."""
    return {
        alias.asname or alias.name: node.module or ""
        for node in ast.parse(api.read_bytes(), str(api)).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _module_name(path: Path) -> str:
    path = path.resolve()
    if path.is_relative_to(PACKAGE_ROOT) and path.relative_to(PACKAGE_ROOT).parts[0] in _PACKAGES:
        parts = path.relative_to(PACKAGE_ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return f"plugins.{path.stem}"


def _module_file(name: str, importer: Path) -> Path | None:
    """The file of a project module, a package's `__init__`, or a user's file beside the importing one; else None."""
    head, _, rest = name.partition(".")
    if head in _PACKAGES:
        stem = PACKAGE_ROOT.joinpath(head, *rest.split(".")) if rest else PACKAGE_ROOT / head
        return next((file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.exists()), None)
    beside = importer.parent / f"{name}.py"
    return beside if _module_name(importer).startswith("plugins.") and beside.exists() else None
