"""Where a number comes from: digests of code, data, weights and configuration; git; the environment.

No torch at import: planning hashes files, it runs nothing.
"""

import ast
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import yaml

from mtcp.config import Project, RunConfig
from mtcp.errors import UserError
from mtcp.files import read_json
from mtcp.plugins import PACKAGE_ROOT, path_of

KEY_LENGTH: Final = 16
_PACKAGES: Final = ("mtcp", "baselines")
#: Modules that decide what runs, not what comes out: their result, the resolved configuration, is hashed itself.
_HASHED_BY_RESULT: Final = frozenset(
    f"mtcp.{name}" for name in ("config", "errors", "files", "plugins", "provenance", "plan")
)
_RECORDED: Final = (
    "mtcp", "torch", "torchvision", "timm", "transformers", "torchjd", "numpy", "scipy", "pandas", "pillow",
    "safetensors", "snakemake", "dvc",
)  # fmt: skip


# --- Hashing -----------------------------------------------------------------------------------------------------


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
    """SHA-256 over a weights file, or over the names and bytes of all files of a folder."""
    if not path.exists():
        raise UserError(f"weights {path} do not exist: correct `encoder.weights` in the benchmark's file")
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    return digest([[str(item.relative_to(path)), _file_digest_at(item, item.stat().st_mtime_ns)] for item in files])


@cache
def _file_digest_at(path: Path, _modified_ns: int) -> str:
    return file_digest(path)


# --- Code --------------------------------------------------------------------------------------------------------


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
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = _module_name(path).split(".")[: -node.level]
                base = ".".join([*package, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


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


# --- Data --------------------------------------------------------------------------------------------------------


def data_digest(project: Project, name: str) -> str:
    """Return the digest of the data set of benchmark `name`, known before the data exist.

    A DVC-tracked or imported set: the digest in `data/<name>.dvc`, else in `data/<name>.lock.json`. A rendered
    one: the renderer's code and settings. Raises `UserError` that says how to get data where there are none.
    """
    benchmark, data = project.benchmark(name), project.data_name(name)
    tracked = project.root / f"data/{data}.dvc"
    if tracked.exists():
        try:
            return str(yaml.safe_load(tracked.read_text())["outs"][0]["md5"])
        except (yaml.YAMLError, KeyError, IndexError, TypeError) as error:
            raise UserError(f"{tracked} names no `outs: - md5:`; track data/{data} with `dvc add` again") from error
    if benchmark.rendered is not None:
        scenes = PACKAGE_ROOT / f"mtcp/data/scenes/{benchmark.rendered.get('preset')}.py"
        code = code_digest([PACKAGE_ROOT / "mtcp/data/render.py", *([scenes] if scenes.exists() else [])])
        return digest(
            ["rendered", code, benchmark.rendered, benchmark.height, benchmark.width, sorted(benchmark.tasks)]
        )
    recorded = read_lock(project, data)
    if recorded is None:
        raise UserError(missing_sentence(data))
    return str(recorded["digest"])


def missing_sentence(data: str) -> str:
    """Say which two commands would get a data set."""
    return (
        f"no data for '{data}': import a copy with `mtcp data import {data} PATH`, "
        f"or download one with `mtcp data fetch {data} --url URL` (docs/data.md says where it is)"
    )


def read_lock(project: Project, data: str) -> dict[str, Any] | None:
    """Return `data/<data>.lock.json`; None where it is absent or, as in a new clone, says that nothing is here yet."""
    path = project.root / f"data/{data}.lock.json"
    lock = read_json(path) if path.exists() else {}
    return lock if lock.get("digest") else None


def manifest_path(project: Project, benchmark: str) -> Path:
    """The small file by which the presence of a benchmark's data enters the workflow."""
    key = data_digest(project, benchmark)[:KEY_LENGTH]
    return project.root / f"data/.ready/{project.data_name(benchmark)}-{key}.json"


# --- Keys --------------------------------------------------------------------------------------------------------


def key_parts(config: RunConfig, data: str, root: Path) -> dict[str, Any]:
    """Return what determines a trained network, the seed included: hashed, it is `train_key`."""
    plugin_files = [
        path_of("architecture", config.architecture.name, root),
        path_of("scheme", config.scheme.name, root),
    ]
    parts: dict[str, Any] = {
        "config": config.training_part(),
        "data": data,
        "code": code_digest([PACKAGE_ROOT / "mtcp/training.py", *plugin_files]),
    }
    if config.encoder.weights:
        parts["weights"] = weights_digest(root / config.encoder.weights)
    return parts


def evaluation_parts(config: RunConfig) -> dict[str, Any]:
    """Return what `eval_key` adds to `train_key`: the evaluation's configuration and code."""
    return {"config": config.evaluation_part(), "code": code_digest([PACKAGE_ROOT / "mtcp/evaluation.py"])}


# --- Surroundings ------------------------------------------------------------------------------------------------


def git_state(root: Path) -> dict[str, Any]:
    """Return commit, dirtiness and, where dirty, the SHA-256 of the diff; empty outside a git checkout."""

    def git(*arguments: str) -> bytes | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {}
    dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
    diff = hashlib.sha256(git("diff", "HEAD") or b"").hexdigest() if dirty else None
    return {"commit": commit.decode().strip(), "dirty": dirty, "diff_sha256": diff}


def environment_class(device: str) -> str:
    """Device type and the minor versions of torch and torchjd: runs of different classes are not paired unmarked."""

    def minor(package: str) -> str:
        installed = installed_version(package)
        return ".".join(installed.split(".")[:2]) if installed else "none"

    return f"{device.split(':')[0]}-torch{minor('torch')}-torchjd{minor('torchjd')}"


def environment(device: str, root: Path) -> dict[str, Any]:
    """Describe the machine and the packages of a run."""
    lock = root / "requirements.lock"
    return {
        "class": environment_class(device),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "gpu": _gpu(device),
        "packages": {name: found for name in _RECORDED if (found := installed_version(name))},
        "lock_sha256": file_digest(lock) if lock.exists() else None,
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Say in words what changed between two `key_parts`: one entry per changed key, dotted."""
    found = []
    for key in sorted({*old, *new}):
        name, before, after = f"{prefix}{key}", old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{name}.")
        elif before != after:
            found.append(f"{name}: {_words(before)} -> {_words(after)}")
    return found


def _words(value: Any) -> str:
    if value is None:
        return "default"
    return value[:12] if isinstance(value, str) and len(value) >= 32 else json.dumps(value)


def installed_version(package: str) -> str | None:
    """Return the installed version of `package`, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpu(device: str) -> dict[str, Any] | None:
    if not device.startswith("cuda"):
        return None
    import torch

    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "driver": _driver(),
    }


def _driver() -> str | None:
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        said = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    return said[0].strip() if said else None
