"""Digests of code: the syntax trees of the modules that an entry point imports statically, directly or indirectly."""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from mtcp.core.errors import UserError
from mtcp.core.hashing import digest
from mtcp.core.plugins import PACKAGE_ROOT, USER_FOLDER

_PACKAGES: Final = ("mtcp", "baselines")
_PUBLIC: Final = "mtcp.api"
#: Modules that change no result by themselves: of those that decide what runs, the output (the resolved configuration)
#: is hashed instead; the others word messages, and read and write files.
_HASHED_BY_RESULT: Final = frozenset(
    f"mtcp.{name}"
    for name in (
        "core.code_digest", "core.config", "core.errors", "core.files", "core.hashing", "core.names", "core.plugins",
        "core.project", "core.project_files", "core.rendered", "core.run_config", "core.task_names", "core.validation",
        "core.words", "data.locks", "store.environment", "store.keys", "store.plan",
    )
)  # fmt: skip


def code_closure(entries: Iterable[Path]) -> dict[str, Path]:
    """Return {module name: file} of the project's modules that `entries` reach by static import.

    Modules in `_HASHED_BY_RESULT`, and those reached only through them, are left out.
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
            f"{path} is not valid Python (line {error.lineno}: {error.msg}); correct it or move it away"
        ) from error
    importing: list[ast.AST] = []
    content = hashlib.sha256(_canonical(tree, importing).encode()).hexdigest()
    return content, tuple(file for name in _imported_names(importing, path) if (file := _module_file(name, path)))


def _canonical(node: ast.AST, importing: list[ast.AST]) -> str:
    """Dump a syntax tree without docstrings, positions, contexts and empty fields: equal for Python 3.11 and later.

    Import statements are appended to `importing` on the way.
    """
    if isinstance(node, ast.Import | ast.ImportFrom):
        importing.append(node)
    inner = []
    for name in _fields(type(node)):
        value = getattr(node, name, None)
        if name == "body" and isinstance(value, list) and _has_docstring(node):
            value = value[1:]
        if isinstance(value, list):
            each = [_canonical(one, importing) if isinstance(one, ast.AST) else repr(one) for one in value]
            value = f"[{','.join(each)}]" if each else None
        elif isinstance(value, ast.AST):
            value = _canonical(value, importing)
        elif value is not None:
            value = repr(value)
        if value is not None:
            inner.append(f"{name}={value}")
    return f"{type(node).__name__}({','.join(inner)})"


@cache
def _fields(kind: type[ast.AST]) -> tuple[str, ...]:
    return tuple(name for name in kind._fields if name not in ("ctx", "kind", "type_comment"))


def _has_docstring(node: ast.AST) -> bool:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) or not node.body:
        return False
    first = node.body[0]
    return isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str)


def _imported_names(nodes: Iterable[ast.AST], path: Path) -> Iterable[str]:
    """Names of modules that a file imports; names from `mtcp.api` count as imported from the module that defines them.

    A plug-in that imports one class from the public interface therefore does not depend on everything exported there.
    """
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = _module_name(path).split(".")
                above = node.level - (path.name == "__init__.py")  # which is its package itself
                base = ".".join([*package[: len(package) - above], *([base] if base else [])])
            if base == _PUBLIC and _module_name(path) != _PUBLIC:
                exported = _exports(PACKAGE_ROOT / "mtcp/api.py")
                for alias in node.names:
                    module, defined = exported.get(alias.name, (base, alias.name))
                    yield from (module, f"{module}.{defined}")
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def _exports(api: Path) -> dict[str, tuple[str, str]]:
    """Return {name: (module or package that it is imported from, its name there)} for the public interface."""
    return {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in ast.parse(api.read_bytes(), str(api)).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@cache
def _module_name(path: Path) -> str:
    """The dotted name of a module of this project; for a user's file, its path in the plug-in folder."""
    resolved = path.resolve()
    if resolved.is_relative_to(PACKAGE_ROOT) and resolved.relative_to(PACKAGE_ROOT).parts[0] in _PACKAGES:
        parts = resolved.relative_to(PACKAGE_ROOT).with_suffix("").parts
    else:
        parts = (USER_FOLDER, *path.absolute().relative_to(_users_folder(path)).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _users_folder(path: Path) -> Path:
    """The folder from which a user's file imports its helpers: the nearest `plugins/` above it, else its own.

    Of a linked file it is the folder of the link, where Python looks too.
    """
    above = path.absolute().parents
    return next((parent for parent in above if parent.name == USER_FOLDER), above[0])


def _module_file(name: str, importer: Path) -> Path | None:
    """The file of a project module, of a package's `__init__`, or of a helper beside a user's file; else None."""
    head, *rest = name.split(".")
    if head in _PACKAGES:
        stem = PACKAGE_ROOT.joinpath(head, *rest)
    elif _module_name(importer).startswith(f"{USER_FOLDER}."):
        stem = _users_folder(importer).joinpath(*(rest if head == USER_FOLDER else (head, *rest)))
    else:
        return None
    return next((file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.exists()), None)
