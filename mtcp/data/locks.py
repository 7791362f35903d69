"""The digest of a data set, which is known before the data exist, and the lock file that records it."""

import math
from pathlib import Path
from typing import Any

from mtcp.core.code_digest import code_digest
from mtcp.core.data_sets import own_description
from mtcp.core.errors import UserError
from mtcp.core.files import read_json, read_yaml
from mtcp.core.hashing import KEY_LENGTH, digest
from mtcp.core.plugins import PACKAGE_ROOT
from mtcp.core.project import Project
from mtcp.core.project_files import dvc_file, lock_file
from mtcp.core.run_config import RunConfig, batches_per_epoch
from mtcp.core.validation import fault
from mtcp.core.words import counted


def data_digest(project: Project, name: str) -> str:
    """Return the digest of the data set of benchmark `name`, known before the data exist.

    For a rendered set it is the digest of the renderer's code and settings, tracked by DVC or not; for another that DVC
    tracks the digest in `data/<name>.dvc`; for any other the one in `data/<name>.lock.json`. Raises `UserError`, which
    says how to get the data, where there is none.
    """
    benchmark, data = project.benchmark(name), project.data_name(name)
    require_one_set(project, name)
    if benchmark.rendered is not None:
        scenes = PACKAGE_ROOT / f"mtcp/data/rendering/{benchmark.rendered.preset}.py"
        code = code_digest([PACKAGE_ROOT / "mtcp/data/rendering/render.py", scenes])
        return digest(["rendered", code, benchmark.rendered.model_dump(), benchmark.height, benchmark.width])
    tracked = dvc_file(project.root, data)
    if tracked.exists():
        try:
            return str(read_yaml(tracked, dict)["outs"][0]["md5"])
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(f"{tracked} names no `outs: - md5:`; track data/{data} with `dvc add` again") from error
    recorded = read_lock(project, data)
    if recorded is None:
        raise UserError(missing_sentence(project, data))
    return str(recorded["digest"])


def require_one_set(project: Project, name: str) -> None:
    """Raise `UserError` where another benchmark shares the data folder but defines its set differently.

    A benchmark whose file has a mistake is passed over: it is refused where it is used.
    """
    benchmark, data = project.benchmark(name), project.data_name(name)
    if data == name:
        return
    for other in (each for each in project.benchmark_names() if each != name):
        try:
            whole = project.benchmark(other)
        except UserError:
            continue
        if (whole.data or other) != data:
            continue
        made = {"layout": (benchmark.layout, whole.layout), "rendered": (benchmark.rendered, whole.rendered)}
        if benchmark.rendered is not None:
            made |= {side: (getattr(benchmark, side), getattr(whole, side)) for side in ("height", "width")}
        for key, (own, theirs) in made.items():
            if own != theirs:
                raise fault(
                    project.benchmark_path(name), ("data",),
                    f"data/{data} is shared with benchmark '{other}', whose {key} is {theirs}, and here it is {own}: "
                    f"make them equal, or take `data` out for a set of its own",
                )  # fmt: skip


def require_validation_images(project: Project, name: str) -> None:
    """Raise `UserError` where the benchmark's `validation_share` is so small that no image is kept for validation.

    The number of images is taken from the renderer's settings or the lock, so no data are needed.
    """
    benchmark, count = project.benchmark(name), _training_count(project, name)
    if benchmark.validation_share and count is not None and not round(benchmark.validation_share * count):
        least = math.ceil(100 / count) / 100
        more = f"give {least} or more, or 0" if least < 0.5 else "give 0"  # half of the images may not be kept
        raise fault(
            project.benchmark_path(name), ("validation_share",),
            f"{benchmark.validation_share} of {counted(count, 'training image')} leaves no image to choose a network "
            f"by: {more} for no validation split",
        )  # fmt: skip


def require_one_batch(project: Project, config: RunConfig, images: int | None = None) -> None:
    """Raise `UserError` where training would have no batch in an epoch.

    `images`: those of the training split (default: as many as the renderer's settings or the lock leave for it, which
    nobody may know yet).
    """
    if images is None and (count := _training_count(project, config.benchmark)) is not None:
        images = count - round(config.validation_share * count)
    if images is not None:
        own = "batch_size" in project.method(config.method).training
        batches_per_epoch(config, "train", images, f"config/methods.yaml, method '{config.method}'" if own else "")


def _training_count(project: Project, name: str) -> int | None:
    """The images of a benchmark's training split, those for validation included; None where nobody knows them yet."""
    benchmark = project.benchmark(name)
    lock = read_lock(project, project.data_name(name)) or {}
    count = benchmark.rendered.train if benchmark.rendered else lock.get("counts", {}).get("train")
    return count if isinstance(count, int) else None


def missing_sentence(project: Project, data: str) -> str:
    """Return the message on which commands provide a missing data set."""
    if own := described_by(project, data):
        return f"no data for '{data}': import your files with `mtcp data import {data} PATH`, as {own} describes them"
    if data.startswith("nyuv2_13"):
        return (
            f"no data for '{data}': derive them from imported frames of NYUv2 with "
            f"`mtcp data derive nyuv2_13 --from nyud --as {data}` (docs/weighting-literature.md)"
        )
    return (
        f"no data for '{data}': import a copy with `mtcp data import {data} PATH`, "
        f"or download one with `mtcp data fetch {data} --url URL` (docs/data.md says where it is)"
    )


def described_by(project: Project, data: str) -> str | None:
    """The project's own file, such as data/NAME.yaml, that describes data set `data`; None for a known layout."""
    names = (one for one in project.benchmark_names() if project.data_name(one) == data)
    layout = next((project.benchmark(one).layout for one in names), data)
    own = own_description(layout, project.root)
    return f"data/{own.name}" if own else None


def read_lock(project: Project, data: str) -> dict[str, Any] | None:
    """Return `data/<data>.lock.json`; None if it is absent or, as in a new clone, has no digest yet."""
    path = lock_file(project.root, data)
    lock = read_json(path) if path.exists() else {}
    return lock if lock.get("digest") else None


def manifest_path(project: Project, benchmark: str) -> Path:
    """The small file that represents a benchmark's data in the workflow."""
    key = data_digest(project, benchmark)[:KEY_LENGTH]
    return project.root / f"data/.ready/{project.data_name(benchmark)}-{key}.json"
