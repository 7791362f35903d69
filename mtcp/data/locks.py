"""The digest of a data set, known before the data exist, and the lock file that records it."""

from pathlib import Path
from typing import Any

import yaml

from mtcp.core.code_digest import code_digest
from mtcp.core.config import Project
from mtcp.core.errors import UserError
from mtcp.core.files import read_json
from mtcp.core.hashing import KEY_LENGTH, digest
from mtcp.core.plugins import PACKAGE_ROOT


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
        scenes = PACKAGE_ROOT / f"mtcp/data/rendering/{benchmark.rendered.get('preset')}.py"
        code = code_digest([PACKAGE_ROOT / "mtcp/data/rendering/render.py", *([scenes] if scenes.exists() else [])])
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
