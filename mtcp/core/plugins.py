"""Plug-ins: one file, one class, one decorator; found by reading files, imported only when used.

A weighting scheme or an architecture is a decorated class::

    @scheme("my_scheme")
    class MyScheme(LossScheme): ...

in a file of `mtcp/weighting/`, `mtcp/models/`, `baselines/` or the user's `plugins/`. Planning needs the names
without importing torch, so they are read from the files' text.
"""

import ast
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final, TypeVar

from mtcp.core.errors import UserError, alternatives
from mtcp.core.files import visible
from mtcp.core.names import name_fault
from mtcp.core.validation import Model, validated

PACKAGE_ROOT: Final = Path(__file__).resolve().parents[2]
_PACKAGES: Final = ("mtcp", "baselines")
USER_FOLDER: Final = "plugins"
_USER_MODULES: Final = "mtcp_user_plugins"
_FOLDERS: Final = {
    "scheme": ("mtcp/weighting", "baselines/weighting"),
    "architecture": ("mtcp/models", "baselines/architectures"),
}
_BASES: Final = {"scheme": "LossScheme, GramianScheme or JacobianScheme", "architecture": "Architecture"}
#: The decorator of a class at a file's top level. Parsing all files would take a tenth of the time of `mtcp plan`.
_DECLARATION: Final = re.compile(
    r"""^@(scheme|architecture)\(\s*["']([^"'\n]*)["']\s*,?\s*\)[^\n]*\n+(?=@|#|class )""", re.MULTILINE
)
_registry: dict[tuple[str, str], type] = {}
#: Folders from which users' files were imported.
_user_folders: set[Path] = set()
Class = TypeVar("Class", bound=type)


class PluginParameters(Model):
    """Declared parameters of a plug-in: typed, bounded, with defaults and descriptions; unknown names are refused."""


def _register(kind: str, name: str) -> Callable[[Class], Class]:
    def decorate(cls: Class) -> Class:
        _registry[kind, name] = cls
        cls.name = name
        return cls

    return decorate


def scheme(name: str) -> Callable[[Class], Class]:
    """Class decorator: register a weighting scheme under `name` ([a-z0-9_]+)."""
    return _register("scheme", name)


def architecture(name: str) -> Callable[[Class], Class]:
    """Class decorator: register an architecture under `name` ([a-z0-9_]+)."""
    return _register("architecture", name)


@cache
def _declared(path: Path, modified_ns: int) -> tuple[tuple[str, str], ...]:
    """Return the (kind, name) pairs that a file declares, from its text; a user's file must be valid Python."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.parent.name == USER_FOLDER:
            ast.parse(text, str(path))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:  # ast's, of very odd files
        sentence = error.strerror if isinstance(error, OSError) else str(error) or type(error).__name__
        raise UserError(f"plug-in {path} cannot be read as Python: {sentence}; correct it or move it away") from error
    return tuple(_DECLARATION.findall(text))


def find(kind: str, root: Path | None = None, *, faulty: bool = False) -> dict[str, Path]:
    """Return {name: file} of all plug-ins of `kind` ("scheme" or "architecture"), without importing any.

    `root` is the project whose `plugins/` folder is read besides the packages (default: working directory).
    Raises `UserError` where two files claim one name, or a user's file cannot be read or defines nothing; such files
    are left out where they may be `faulty`.
    """
    found: dict[str, Path] = {}
    names = _names_or_none if faulty else _names
    for path in _files(kind, root):
        for name in names(kind, path):
            if name in found:
                raise UserError(f"{kind} '{name}' is defined twice, in {found[name]} and {path}: rename one")
            found[name] = path
    return found


def _files(kind: str, root: Path | None) -> Iterator[Path]:
    for folder in (*(PACKAGE_ROOT / folder for folder in _FOLDERS[kind]), (root or Path.cwd()) / USER_FOLDER):
        yield from visible(folder, "*.py")


def _names(kind: str, path: Path) -> list[str]:
    """Return the names of plug-ins of `kind` in one file."""
    if not path.is_file():
        raise UserError(f"plug-in {path} is no file, or a link to nothing: move it away")
    declared = _declared(path, path.stat().st_mtime_ns)
    if not declared and path.parent.name == USER_FOLDER and not path.name.startswith("_"):
        raise UserError(
            f'plug-in {path} defines nothing: put @scheme("name") or @architecture("name"), the name written '
            "out, over its class, or let a helper's file name start with _"
        )
    names = [name for declared_kind, name in declared if declared_kind == kind]
    for name in names:
        if problem := name_fault(name):
            raise UserError(f"plug-in {path}: {problem}")
    return names


def path_of(kind: str, name: str, root: Path | None = None) -> Path:
    """Return the file that defines plug-in `name`; raises `UserError` listing the known names if there is none.

    An error in another file of `plugins/`, such as an unfinished plug-in, does not stop the runs of other methods.
    """
    defining = [path for path in _files(kind, root) if name in _names_or_none(kind, path)]
    if len(defining) == 1:
        return defining[0]
    known = find(kind, root)  # raises for duplicate names, and for a faulty file, which may be the one looked for
    raise UserError(f"unknown {kind} '{name}'{alternatives(name, known)}")


def _names_or_none(kind: str, path: Path) -> list[str]:
    try:
        return _names(kind, path)
    except UserError:
        return []


def load(kind: str, name: str, root: Path | None = None) -> type:
    """Import the file of plug-in `name` and return its class; raises `UserError` where the import fails."""
    path = path_of(kind, name, root)
    known = _registry.get((kind, name))
    if known is None or Path(sys.modules[known.__module__].__file__ or "") != path.resolve():
        _import_file(path)
    if (kind, name) not in _registry:
        raise UserError(f"plug-in {path} says {kind} '{name}' in its text, and defines none: is it in a string?")
    found = _registry[kind, name]
    if not _shipped(path):
        _require_parameters(found, kind, f"{kind} '{name}' in {path}")
        _require_signatures(found, f"{kind} '{name}' in {path}")
    return found


def _shipped(path: Path) -> bool:
    return any(path.is_relative_to(PACKAGE_ROOT / package) for package in _PACKAGES)


def _require_parameters(found: type, kind: str, where: str) -> None:
    """Raise `UserError` where a user's class declares no parameters in the expected form, which its base class has."""
    declared = getattr(found, "Parameters", None)
    if declared is None:
        raise UserError(f"{where} must derive from {_BASES[kind]}")
    if not isinstance(declared, type) or not issubclass(declared, PluginParameters):
        raise UserError(f"{where}: `Parameters` must be a class that derives from PluginParameters")


def _require_signatures(found: type, where: str) -> None:
    """Raise `UserError` where a user's class does not take what mtcp passes to its methods."""
    expected: dict[str, tuple[str, ...]] = {"__init__": ("self", "context", "parameters")}
    for base in found.__mro__:
        if base.__module__.split(".")[0] in _PACKAGES:
            for name, function in vars(base).items():
                if inspect.isfunction(function):
                    expected.setdefault(name, tuple(inspect.signature(function).parameters))
    for name, wanted in expected.items():
        own = inspect.getattr_static(found, name)
        if not inspect.isfunction(own) or own.__module__.split(".")[0] in _PACKAGES:
            continue
        try:
            inspect.signature(own).bind(*wanted)
        except TypeError as error:
            given = ", ".join(inspect.signature(own).parameters)
            raise UserError(f"{where}: {name}({given}) must take ({', '.join(wanted)})") from error


def _import_file(path: Path) -> None:
    try:
        if _shipped(path):
            importlib.import_module(".".join(path.relative_to(PACKAGE_ROOT).with_suffix("").parts))
            return
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))  # for its helper modules
        _user_folders.add(path.parent)
        package = sys.modules.setdefault(_USER_MODULES, ModuleType(_USER_MODULES))
        package.__path__ = [str(path.parent)]  # for relative imports
        spec = importlib.util.spec_from_file_location(f"{_USER_MODULES}.{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ImportError("not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        with redirect_stdout(sys.stderr):  # what it prints is no part of a command's JSON
            spec.loader.exec_module(module)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"plug-in {path} does not import: {type(error).__name__}: {error}") from error


def own_line(error: BaseException) -> str | None:
    """Return "FILE, line N", the innermost frame of `error` in a user's plug-in or helper; None if there is none."""
    places = [
        f"{frame.f_code.co_filename}, line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _user_folders & {*Path(frame.f_code.co_filename).parents}
    ]
    return places[-1] if places else None


@contextmanager
def faults_named(where: str, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn an exception or exit raised in a user's plug-in into `UserError` with `where`, its type, file and line.

    Exceptions that were not raised in a plug-in, and those of the types `passing`, propagate unchanged.
    """
    try:
        yield
    except (UserError, *passing):
        raise
    except (Exception, SystemExit) as error:
        line = own_line(error)
        if line is None:
            raise
        raise UserError(f"{where}: {type(error).__name__} in {line}: {error}") from error


def parameters(kind: str, name: str, given: dict, root: Path | None = None) -> PluginParameters:
    """Validate `given` against the plug-in's declared parameters; raises `UserError` naming the parameter."""
    declared: type[PluginParameters] = load(kind, name, root).Parameters
    if "name" in declared.model_fields:
        raise UserError(
            f"{kind} '{name}' in {path_of(kind, name, root)} has a parameter 'name', which methods.yaml could not set: "
            f"`name` there says which {kind} it is; call the parameter something else"
        )
    return validated(declared, given, f"{kind} '{name}'")
