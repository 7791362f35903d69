"""Import of an existing copy of a data set: a folder, an archive, or NYU Depth v2's .mat file.

The files of the layout are copied unchanged. Targets that no image has are derived where possible (nyud: normals from
depth; layouts with a folder for derived edges: edges from label boundaries), and every image is checked. Only then does
the complete set appear as data/<name>, with data/<name>.lock.json and, if tracked by DVC, data/<name>.dvc.
"""

import glob
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from mtcp.core.data_sets import PICTURES, description_path, layout_names, own_description, read_description
from mtcp.core.errors import UserError
from mtcp.core.files import write_json
from mtcp.core.hashing import file_digest
from mtcp.core.project import Project
from mtcp.core.project_files import dvc_file, lock_file
from mtcp.core.tasks import VOID
from mtcp.core.words import counted
from mtcp.data.formats import packaging
from mtcp.data.formats.cameras import camera_of
from mtcp.data.formats.described import COPY, DescribedLayout, left_out
from mtcp.data.formats.file_kinds import it_is
from mtcp.data.formats.layouts import Layout
from mtcp.data.formats.nyu import unpack_nyu
from mtcp.data.formats.opening import layout_in
from mtcp.data.preparation.archives import ENDINGS, is_archive, unpack
from mtcp.data.preparation.boundaries import boundaries, write_boundaries
from mtcp.data.preparation.checking import Findings, check_set, each, tasks_of
from mtcp.data.preparation.codings import Told, mask_codings
from mtcp.data.preparation.contents import content_digest, harmless
from mtcp.data.preparation.derive import normals_from_depth
from mtcp.data.preparation.installing import installing
from mtcp.data.preparation.sets import Progress, classes_of_set, dvc, last_words, layout_wanted

_SHOWN: Final = 20
#: Folders of derived targets; the name marks them as derived wherever the set is copied.
DERIVED: Final = {"normals": "normals_derived", "edge": "edge_derived"}
#: Keys of an imported or rendered set's packaging that are kept, because its files do not show them.
_CARRIED: Final = ("depth", "semseg", "accepted", "camera", "classes")


@dataclass(frozen=True)
class Imported:
    """The result of an import: the folder, the content of its lock, the findings, and the user's own description."""

    folder: Path
    lock: dict[str, Any]
    findings: Findings
    tracked: bool
    description: str | None = None


def layout_of(project: Project, name: str) -> str:
    """Return the layout of data set `name`: its benchmark's, or the one with whose name its own begins."""
    if layout := layout_wanted(project, name):
        return layout
    kinds = layout_names(project.root)
    for kind in sorted(kinds, key=len, reverse=True):
        if name.startswith(kind):
            return kind
    raise UserError(
        f"the layout of '{name}' is unknown, because no benchmark uses it: describe it in data/{name}.yaml "
        f"(docs/data.md), or let the name begin with a known layout ({', '.join(kinds)})"
    )


def import_set(
    project: Project,
    name: str,
    source: Path,
    *,
    track: bool,
    told: Told | None = None,
    origin: dict[str, Any] | None = None,
    progress: Callable[[str], Progress] = lambda stage: lambda done, total: None,
) -> Imported:
    """Import `source` as data/<name>; `track` adds it to DVC. `origin` is recorded (default: the source's name).

    `told` is what the user states about the set's codings; it is recorded in lock and packaging.

    On problems, raises `UserError` listing them by image, and leaves an earlier set unchanged.
    """
    kind, told = layout_of(project, name), told or Told()
    require_trackable(project, name, track)
    own = own_description(kind, project.root)
    if own is not None:
        _require_consistent(own, told)
    lock: dict[str, Any] = {}
    with installing(project, name, lambda: record_set(project, name, lock, track)) as folder:
        reader = layout_in(kind, source, root=project.root)
        with _opened(source, reader, folder.parent, f"{folder.name}-source-", progress("reading")) as (root, move):
            given = packaging.read(root)
            source_layout = layout_in(kind, root, root=project.root)
            unread = _left_out(source_layout)
            _place(source_layout, folder, shutil.move if move else shutil.copyfile, progress("copying"))
        if own is not None:
            shutil.copyfile(own, folder / COPY)  # the set is read by this copy from now on
        carried = {key: given[key] for key in _CARRIED if key in given} | told.packaging()
        unrecorded = layout_in(kind, folder)
        codings = mask_codings(unrecorded, _ids(unrecorded))
        carried |= _own_names(unrecorded) | codings
        packaging.write(folder, carried)
        layout = layout_in(kind, folder)
        derived = _derived_before(layout, given)
        derived |= _derive(layout, progress("deriving"))
        findings = check_set(layout, progress("checking"), classes_of_set(project, name))
        findings.problems[:0] = _unmatched(layout)
        if findings.problems:
            inside = [problem.replace(f"{folder}/", "") for problem in findings.problems + unread]
            raise UserError(problem_list(source, inside))
        counts = {split: len(layout.ids(split)) for split in ("train", "val")}
        findings.warnings += unread + _unusual(layout, counts) + _absent(layout)
        record = carried | _packaging(layout, findings, derived)
        packaging.write(folder, record)
        lock |= {
            "schema": 1,
            "name": name,
            "digest": content_digest(folder),
            "counts": counts,
            "packaging": record["packaging"],
            "derived": derived,
            **{key: carried[key] for key in ("depth", "semseg", *codings, "accepted") if key in carried},
            "source": origin or _origin(source),
            "licence": layout.licence,
        }
    return Imported(project.root / "data" / name, lock, findings, track, f"data/{own.name}" if own else None)


def _require_consistent(own: Path, told: Told) -> None:
    """Raise `UserError` where the user's description `own` and the command line both say how a target is stored.

    In a known layout, the command line's coding replaces the usual one.
    """
    tasks, kind = read_description(own).tasks, own.stem
    if told.label_coding and tasks.semseg is not None and tasks.semseg.values is not None:
        raise UserError(
            f"--label-coding {told.label_coding}: data/{kind}.yaml gives `values`, which say what each stored label of "
            "semseg is; leave out --label-coding"
        )
    if told.depth_unit and tasks.depth is not None and tasks.depth.unit is not None:
        raise UserError(
            f"--depth-unit {told.depth_unit}: data/{kind}.yaml gives the `unit` of depth, {tasks.depth.unit}; correct "
            "it there, or leave out --depth-unit"
        )


def require_trackable(project: Project, name: str, track: bool) -> None:
    """Raise `UserError`, before any work, where DVC could not `track` data/<name>, or must go on tracking it."""
    if not track:
        if dvc_file(project.root, name).exists():
            raise UserError(
                f"data/{name}.dvc tracks the set that lies here, and its digest is in the keys of runs: import with "
                "--dvc, or remove that file first"
            )
        return
    for path in (project.root / "data", project.root / "data" / name):
        if path.is_symlink():
            raise UserError(
                f"{path.relative_to(project.root)} is a symbolic link, behind which DVC tracks nothing: import with "
                "--no-dvc (the lock file still says what the set is)"
            )
    done = dvc(project.root, "root")
    if done.returncode:
        raise UserError(f"DVC cannot track data/{name} ({last_words(done)}): correct that, or import with --no-dvc")


def record_set(project: Project, name: str, lock: dict[str, Any], track: bool) -> None:
    """Track the newly installed set, and write its lock file; raises `UserError` where DVC fails."""
    if track:
        done = dvc(project.root, "add", f"data/{name}")
        if done.returncode:
            raise UserError(
                f"`dvc add data/{name}` failed ({last_words(done)}), and all is as before: correct it, and import again"
            )
    write_json(lock_file(project.root, name), lock)  # last: until then, the lock does not describe this set


def problem_list(source: Path | str, problems: list[str]) -> str:
    """A sentence, then the problems, one per line; the rest of a long list is only counted."""
    lines = [f"  {problem}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"  ... and {len(problems) - _SHOWN} more")
    count = counted(len(problems), "problem")
    return "\n".join([f"{source} cannot be used, {count}:", *lines])


@contextmanager
def _opened(source: Path, layout: Layout, beside: Path, prefix: str, progress: Progress) -> Iterator[tuple[Path, bool]]:
    """Yield the layout's root inside `source`, and whether its files may be moved away (they are a temporary copy)."""
    if not source.exists():
        raise UserError(
            f"{source} does not exist: give a folder, an archive ({', '.join(ENDINGS)}) or a .mat file "
            "(an address is for `mtcp data fetch`)"
        )
    if source.is_dir():
        yield _root(source, layout, source), False
        return
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=beside))
    try:
        if source.suffix.lower() == ".mat" and layout.kind == "nyud":
            unpack_nyu(source, folder, progress)
        elif is_archive(source):
            unpack(source, folder)
        else:
            raise UserError(
                f"{source} is neither a folder nor an archive ({', '.join(ENDINGS)}) nor NYU's .mat file{it_is(source)}"
            )
        yield _root(folder, layout, source), True
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _root(folder: Path, layout: Layout, source: Path) -> Path:
    """Find the layout's root in `folder`, at most three levels down; `source` is named in the error."""
    marker = layout.marker
    for pattern in ("", "*/", "*/*/", "*/*/*/"):
        for found in sorted(folder.glob(f"{pattern}{glob.escape(marker)}")) if pattern else [folder / marker]:
            inside = found.relative_to(folder)
            if found.is_dir() and not harmless(inside) and _holds_something(found):
                return found.parents[len(Path(marker).parts) - 1]
    raise UserError(f"{source} is not a {layout.kind} data set: {layout.recognised_by} are not in it")


def _holds_something(folder: Path) -> bool:
    return any(not harmless(Path(path.name)) for path in folder.iterdir())


def _place(layout: Layout, folder: Path, put: Callable[[Path, Path], Any], progress: Progress) -> None:
    """Copy or move the split lists and every listed image's files to `folder`; the check reports missing files."""
    ids = _ids(layout)
    for path in filter(Path.is_file, layout.list_files()):
        _put(path, folder / path.relative_to(layout.folder), put)
    for done, image_id in enumerate(ids, start=1):
        for path in layout.files(image_id):
            _put(path, folder / path.relative_to(layout.folder).with_suffix(path.suffix.lower()), put)
        progress(done, len(ids))


def _put(path: Path, target: Path, put: Callable[[Path, Path], Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        put(path, target)
    except PermissionError as error:
        if error.filename == str(path):
            raise UserError(f"{path} cannot be read ({error.strerror}): change its permissions") from error
        raise


def _ids(layout: Layout) -> list[str]:
    """All usable ids of both splits, in order."""
    return sorted({*layout.listed("train")[0], *layout.listed("val")[0]})


def _derive(layout: Layout, progress: Progress) -> dict[str, str]:
    """Derive targets that no image has; returns {task: what it was derived from}."""
    ids = _ids(layout)
    have = tasks_of(layout, ids)
    plan = {}
    if layout.kind == "nyud" and "depth" in have and "normals" not in have:
        plan["normals"] = "depth, local plane fits"
    if "semseg" in have and "edge" not in have and _holds_derived(layout, "edge"):
        plan["edge"] = "semseg, label boundaries"
    if plan:
        for task in plan:
            (layout.folder / DERIVED[task]).mkdir(exist_ok=True)
        for done, _ in enumerate(each(_Derive(layout, tuple(plan)), ids), start=1):
            progress(done, len(ids))
    return plan


def _holds_derived(layout: Layout, task: str) -> bool:
    """Whether the layout has a folder for derived targets of `task`."""
    return any(folder == DERIVED.get(task) for folder, _ in layout.places.get(task, ()))


def _own_names(layout: Layout) -> dict[str, Any]:
    """The class names that packaging.json records; empty for sets described by mtcp, whose names are known."""
    if not isinstance(layout, DescribedLayout) or description_path(layout.kind):
        return {}
    found: dict[str, Any] = {}
    for task in layout.places:
        traits = layout.traits(task)
        if traits.kind == "semseg" and traits.names:
            names = list(traits.names)
            found |= {"classes": names} if task == "semseg" else {task: {"names": names}}
    return found


def _derived_before(layout: Layout, given: dict[str, Any]) -> dict[str, str]:
    """{task: source} of targets that were derived before this import, found by their folder's name."""
    before, ids = {}, _ids(layout)
    for task, folder in ((task, DERIVED[task]) for task in layout.places if task in DERIVED):
        found = next((path for image_id in ids if (path := layout.find(task, image_id))), None)
        if found is not None and found.parent.name == folder:
            source = given.get(task, {}).get("source")
            before[task] = (
                source if isinstance(source, str) and source != "given" else f"{folder}/, how is not recorded"
            )
    return before


@dataclass(frozen=True)
class _Derive:
    layout: Layout
    tasks: tuple[str, ...]

    def __call__(self, image_id: str) -> None:
        try:
            if "normals" in self.tasks:
                depth = self.layout.target("depth", image_id)
                camera = camera_of(self.layout.kind, self.layout.packaging, *depth.shape)
                normals = normals_from_depth(depth, camera)
                normals[normals[..., 0] == VOID] = 0
                picture = np.rint((normals + 1) * 127.5).astype(np.uint8)
                Image.fromarray(picture).save(self.layout.folder / f"{DERIVED['normals']}/{image_id}.png")
            if "edge" in self.tasks:
                edges = boundaries(self.layout.target("semseg", image_id))
                write_boundaries(self.layout.folder / f"{DERIVED['edge']}/{image_id}.png", edges)
        except UserError:
            return  # the following check reports the image and its problem


def _left_out(layout: Layout) -> list[str]:
    """Warn of pictures beside the photographs that do not match their pattern."""
    if not isinstance(layout, DescribedLayout) or not (names := left_out(layout)):
        return []
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    patterns = layout.description.images
    usual = f" (`.*` is {', '.join(PICTURES)})" if any(pattern.endswith(".*") for pattern in patterns) else ""
    return [f"{shown}: left out, because photographs are files {' or '.join(patterns)}{usual}, one an image"]


def _unusual(layout: Layout, counts: dict[str, int]) -> list[str]:
    """Warn of splits with an unusual number of images."""
    return [
        f"split '{split}' has {counts[split]} images, the field's has {usual}: numbers on the two do not compare"
        for split, usual in layout.usual.items()
        if counts[split] != usual
    ]


def _unmatched(layout: Layout) -> list[str]:
    """Report targets of a user's description that match no file: a copy of a known layout may lack some of its targets.

    Edges that import would have derived are missing only where semseg is.
    """
    ids = _ids(layout)
    if not ids or not isinstance(layout, DescribedLayout) or description_path(layout.kind):
        return []
    have, described = tasks_of(layout, ids), layout.description.tasks.given()
    return [
        f"no file matches {' or '.join(described[task].files)}: correct `files` of {task} in "
        f"data/{layout.kind}.yaml, or take {task} out"
        for task in layout.places
        if task not in have and not (_holds_derived(layout, task) and "semseg" in layout.places)
    ]


def _absent(layout: Layout) -> list[str]:
    """Warn of the layout's tasks that no image has."""
    have = tasks_of(layout, _ids(layout))
    return [
        f"no image has {task}: a benchmark with it cannot use this set" for task in layout.places if task not in have
    ]


def _packaging(layout: Layout, findings: Findings, derived: dict[str, str]) -> dict[str, Any]:
    """The entries of packaging.json: the packaging found, and the conventions detected."""
    sizes = list(findings.sizes)
    size = list(sizes[0]) if len(sizes) == 1 else None
    words = f"{sizes[0][0]}x{sizes[0][1]}" if size else f"{len(sizes)} sizes"
    classes = int(np.nonzero(findings.sums["semseg"][:VOID])[0].max(initial=0)) + 1 if "semseg" in findings.sums else 0
    if layout.kind == "nyud" and size == [425, 560]:
        words += " crop (the field runs it at 448x576)"
    if layout.kind == "nyud" and classes == 41:
        words += ", 41-way labels (the field's usual ones have 40)"
    record: dict[str, Any] = {"layout": layout.kind, "packaging": f"{layout.title} {words}", "size": size}
    for task in layout.places:
        kind, source = layout.traits(task).kind, {"source": derived.get(task, "given")}
        if f"{task} z" in findings.sums:
            record[task] = {**source, "z": "viewer" if findings.sums[f"{task} z"][0] > 0 else "away"}
        if kind == "edge" and task in findings.sums:
            record[task] = {**layout.packaging.get(task, {}), **source}
    return record


def _origin(source: Path) -> dict[str, Any]:
    if source.is_dir():
        return {"name": source.resolve().name}
    return {"name": source.name, "sha256": file_digest(source)}


def warn(findings: Findings) -> None:
    """Print warnings to standard error; the rest of a long list is only counted."""
    for warning in findings.warnings[:_SHOWN]:
        print(f"mtcp: warning: {warning}", file=sys.stderr)
    if len(findings.warnings) > _SHOWN:
        print(f"mtcp: warning: ... and {len(findings.warnings) - _SHOWN} more", file=sys.stderr)
