"""Data sets of a project: installed atomically, digested, and declared ready by a manifest.

`data/<name>/` holds a set, `data/<name>.dvc` tracks it with DVC, `data/<name>.lock.json` pins its content, and
`data/.ready/<name>-<digest>.json` tells the workflow that it is present.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mtcp.core.errors import UserError, alternatives
from mtcp.core.files import read_record, write_json, write_record
from mtcp.core.names import require_name
from mtcp.core.project import Project
from mtcp.core.project_files import dvc_file, lock_file
from mtcp.data.formats import packaging
from mtcp.data.formats.described import COPY
from mtcp.data.formats.layouts import Layout
from mtcp.data.formats.opening import open_layout
from mtcp.data.locks import data_digest, manifest_path, missing_sentence, read_lock
from mtcp.data.preparation.contents import content_digest, files_of, fingerprint, strays
from mtcp.data.preparation.installing import installing, recover
from mtcp.data.rendering.render import render_set, scene_ids

Progress = Callable[[int, int], None]


def require_checked(project: Project, benchmark: str) -> dict[str, Any]:
    """Return the manifest of a benchmark's data; raises `UserError` where they changed since they were checked."""
    name = project.data_name(benchmark)
    path = manifest_path(project, benchmark)
    if not path.exists():
        raise UserError(
            f"the data of '{benchmark}' are not here in the version that the plan names: run `mtcp data prepare {name}`"
        )
    manifest, folder = read_record(path), project.root / "data" / name
    if manifest["fingerprint"] != fingerprint(folder) and manifest["content"] != content_digest(folder):
        from mtcp.data.preparation.checking import check_set

        layout = open_set(project, name)
        problems = check_set(layout, classes=classes_of_set(project, name)).problems
        found = "; ".join((_newer(folder, path) + problems + _named_strays(layout))[:3])
        raise UserError(
            f"data/{name} was changed since it was checked{f' ({found})' if found else ''}: remove data/{name} and "
            f"{path.relative_to(project.root)}, then run `mtcp data prepare {name}` or import the set again"
        )
    return manifest


def _newer(folder: Path, manifest: Path) -> list[str]:
    """Name the files of a set that were written after its check."""
    checked = manifest.stat().st_mtime_ns
    names = [path.relative_to(folder).as_posix() for path in files_of(folder) if path.stat().st_mtime_ns > checked]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return [f"written since: {', '.join(names[:5])}{more}"] if names else []


def classes_of_set(project: Project, name: str) -> dict[str, set[int]]:
    """The numbers of classes that benchmarks on data set `name` declare, by task."""
    found: dict[str, set[int]] = {}
    for benchmark in project.benchmark_names():
        if project.data_name(benchmark) == name:
            for task, options in project.benchmark(benchmark).tasks.items():
                if options.classes:
                    found.setdefault(task, set()).add(options.classes)
    return found


def require_tasks(project: Project, benchmark: str) -> None:
    """Raise `UserError` where one of a benchmark's tasks is in no image of its data, which must be present."""
    layout = open_set(project, project.data_name(benchmark))
    ids = [*layout.ids("train"), *layout.ids("val")]
    absent = [task for task in project.benchmark(benchmark).tasks if not any(layout.find(task, one) for one in ids)]
    if absent:
        raise UserError(
            f"no image of data/{layout.folder.name} has {', '.join(absent)}: take it out of the tasks in "
            f"config/benchmarks/{benchmark}.yaml, or import a set that has it"
        )


def benchmark_of(project: Project, name: str) -> str:
    """Return a benchmark that uses data set `name`; the name of a benchmark is returned unchanged."""
    names = project.benchmark_names()
    for benchmark in sorted(names, key=lambda benchmark: benchmark != name):
        if name in (benchmark, project.data_name(benchmark)):
            return benchmark
    used = {project.data_name(benchmark) for benchmark in names}
    raise UserError(f"no benchmark uses a data set '{name}'{alternatives(name, used)}")


def layout_wanted(project: Project, name: str) -> str | None:
    """Return the layout that benchmarks on data set `name` expect; None where there is no such benchmark.

    Raises `UserError` where `name` cannot be a name, or where its set is rendered: nothing else may take its place.
    """
    require_name(name)
    for benchmark in project.benchmark_names():
        if project.data_name(benchmark) == name:
            if project.benchmark(benchmark).rendered is not None:
                raise UserError(f"data/{name} is rendered (`mtcp data render {name}`): give yours another name")
            return project.benchmark(benchmark).layout
    return None


def render(project: Project, name: str, progress: Progress = lambda done, total: None) -> Path:
    """Render the data set of a benchmark into data/<name>, and record its digest in data/<name>.lock.json."""
    folder = _render(project, name, progress)
    record = _record(project, name, folder)
    lock = {"schema": 1, "name": name, "digest": record["content"], "inputs": record["digest"]}
    write_json(lock_file(project.root, name), {**lock, "counts": record["counts"]})
    return folder


def prepare(project: Project, name: str, progress: Progress = lambda done, total: None) -> Path:
    """Make data set `name` available in data/ and write its manifest, whose path is returned.

    A DVC-tracked set is pulled, a rendered one rendered. The content is compared with data/<name>.lock.json: a
    difference is an error for an imported set, and a recorded warning for a rendered one, since another processor may
    round differently. Raises `UserError` where the data cannot be obtained.
    """
    chosen = benchmark_of(project, name)
    benchmark, name = project.benchmark(chosen), project.data_name(chosen)
    folder = project.root / "data" / name
    recover(project, name)
    if dvc_file(project.root, name).exists():
        if not folder.is_dir():
            pull(project, name)
    elif benchmark.rendered is not None:
        # A set that differs from its lock was changed, or was rounded differently here; rendering again undoes changes.
        inputs = data_digest(project, chosen)
        if packaging.read(folder).get("inputs") != inputs or _differs(project, name, inputs):
            _render(project, name, progress)
    elif not folder.is_dir():
        raise UserError(missing_sentence(project, name))
    record = _record(project, name, folder)
    manifest = manifest_path(project, chosen)
    record["note"] = _compared(project, name, record, rendered=benchmark.rendered is not None)
    for older in manifest.parent.glob(f"{name}-*.json"):
        older.unlink(missing_ok=True)  # two runs may prepare at once
    write_record(manifest, {"schema": 1, **record, "fingerprint": fingerprint(folder)})
    return manifest


def pull(project: Project, name: str) -> None:
    """Get a DVC-tracked set from the local cache or the remote; raises `UserError` with DVC's message."""
    for command in ("checkout", "pull"):
        done = dvc(project.root, command, f"data/{name}.dvc")
        if done.returncode == 0 and (project.root / "data" / name).is_dir():
            return
    raise UserError(
        f"`dvc pull data/{name}.dvc` failed ({last_words(done)}): check `dvc remote list`, or import the data again"
    )


def dvc(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this interpreter's DVC."""
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=root, capture_output=True, text=True, check=False
    )


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """The error message of a DVC command, without its other output."""
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    return " ".join(errors) or " ".join(lines[-1:])


def _render(project: Project, name: str, progress: Progress) -> Path:
    benchmark_name = benchmark_of(project, name)
    benchmark = project.benchmark(benchmark_name)
    if benchmark.rendered is None:
        raise UserError(f"benchmark '{benchmark_name}' is not rendered: {missing_sentence(project, name)}")
    total = sum(map(len, scene_ids(benchmark.rendered).values()))
    with installing(project, name) as folder:
        render_set(
            benchmark.rendered, benchmark.height, benchmark.width, folder,
            inputs=data_digest(project, benchmark_name), progress=lambda done: progress(done, total),
        )  # fmt: skip
    return project.root / "data" / name


def _record(project: Project, name: str, folder: Path) -> dict[str, Any]:
    """The content of a manifest: the digest that enters the keys, the digest of the content, the counts."""
    benchmark = benchmark_of(project, name)
    layout = open_layout(project.benchmark(benchmark).layout, folder)
    _require_same_description(project, layout)
    return {
        "name": name,
        "digest": data_digest(project, benchmark),
        "content": content_digest(folder),
        "counts": {split: len(layout.ids(split)) for split in ("train", "val")},
        "packaging": layout.packaging.get("packaging", ""),
    }


def _differs(project: Project, name: str, inputs: str) -> bool:
    """Whether a rendered set differs from its lock, although the lock was made from the same inputs."""
    lock = read_lock(project, name)
    return lock is not None and lock.get("inputs") == inputs and bool(recorded_content(project, name))


def _compared(project: Project, name: str, record: dict[str, Any], *, rendered: bool) -> str:
    """Compare with the committed lock; return the note for the manifest, or raise for an imported set."""
    lock = read_lock(project, name)
    if lock is None:
        return ""
    if stale := stale_lock(project, name):
        return stale
    if lock["digest"] == record["content"]:
        return ""
    if rendered:
        note = (
            f"data/{name} differs from data/{name}.lock.json although renderer and settings are the same: "
            "this machine rounds differently, and its numbers are not paired with those of others"
        )
        print(f"mtcp: warning: {note}", file=sys.stderr)
        return note
    raise UserError(
        f"data/{name} is not what data/{name}.lock.json records (content {record['content'][:12]}, expected "
        f"{lock['digest'][:12]}): `mtcp data verify {name}` names the files; pull or import it again"
    )


def open_set(project: Project, name: str) -> Layout:
    """Open data/<name> with the layout recorded in it; raises `UserError` where there is no set."""
    folder = project.root / "data" / name
    record = packaging.read(folder)
    if "layout" not in record:
        if dvc_file(project.root, name).exists():
            raise UserError(f"data/{name} is not here yet: `mtcp data prepare {name}` pulls it")
        if project.benchmark(benchmark_of(project, name)).rendered is not None:
            raise UserError(f"no data for '{name}': `mtcp data render {name}` makes them")
        raise UserError(missing_sentence(project, name))
    layout = open_layout(record["layout"], folder)
    _require_same_description(project, layout)
    return layout


def _require_same_description(project: Project, layout: Layout) -> None:
    """Raise `UserError` where the user's description was changed since the set was imported with it."""
    own = project.root / f"data/{layout.kind}.yaml"
    copy = layout.folder / COPY
    if own.is_file() and copy.is_file() and own.read_bytes() != copy.read_bytes():
        raise UserError(
            f"data/{layout.kind}.yaml was changed since data/{layout.folder.name} was imported by it: import the set "
            f"again (`mtcp data import {layout.folder.name} PATH`)"
        )


def recorded_content(project: Project, name: str) -> list[str]:
    """Compare data/<name> with its lock; returns the problems."""
    lock = read_lock(project, name)
    folder = project.root / "data" / name
    if (inputs := packaging.read(folder).get("inputs")) is not None and (wanted := _inputs_wanted(project, name)):
        if inputs != wanted:
            return [f"it is of other settings or an earlier renderer: `mtcp data prepare {name}` makes it again"]
        if lock is not None and lock.get("inputs") != wanted:
            return _named_strays(open_set(project, name))
    if lock is None or (found := content_digest(folder)) == lock["digest"]:
        return []
    return [
        f"content {found[:12]} is not the {lock['digest'][:12]} of data/{name}.lock.json: "
        "files were changed, added or removed",
        *_named_strays(open_set(project, name)),
    ]


def stale_lock(project: Project, name: str) -> str:
    """Return in words that the lock of a rendered set is of other settings than the benchmark's; empty if it is not."""
    inputs = (read_lock(project, name) or {}).get("inputs")
    if inputs is None or _inputs_wanted(project, name) in (None, inputs):
        return ""
    return f"data/{name}.lock.json is of other settings or an earlier renderer: `mtcp data render {name}` renews it"


def _inputs_wanted(project: Project, name: str) -> str | None:
    """The digest of renderer and settings that a rendered set must have been made from; None for any other set."""
    benchmark = benchmark_of(project, name)
    return data_digest(project, benchmark) if project.benchmark(benchmark).rendered is not None else None


def _named_strays(layout: Layout) -> list[str]:
    names = strays(layout)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return [f"files that belong to no image: {', '.join(names[:5])}{more}: remove them"] if names else []


def describe(project: Project) -> list[dict[str, Any]]:
    """One row per data set that a benchmark uses or that is in data/."""
    users: dict[str, list[str]] = {}
    for benchmark in project.benchmark_names():
        users.setdefault(project.data_name(benchmark), []).append(benchmark)
    for path in sorted((project.root / "data").glob("*/" + packaging.FILE)):
        if not path.parent.name.startswith("."):
            users.setdefault(path.parent.name, [])
    rows = []
    for name, benchmarks in sorted(users.items()):
        record = packaging.read(project.root / "data" / name)
        layout = open_layout(record["layout"], project.root / "data" / name) if record else None
        rows.append(
            {
                "set": name,
                "benchmarks": ", ".join(benchmarks),
                "here": bool(record),
                "train": len(layout.ids("train")) if layout else None,
                "test": len(layout.ids("val")) if layout else None,
                "packaging": record.get("packaging"),
                "tracked": dvc_file(project.root, name).exists(),
            }
        )
    return rows
