"""The reader of data sets that a description fully specifies: NYUD_MT, PASCAL_MT, Cityscapes and users' own sets.

Descriptions are `mtcp.core.data_sets.Description`. Import copies a user's description into the set's folder as
`layout.yaml`, so that the folder is self-contained and its digest covers the description.
"""

import glob
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mtcp.core.data_sets import ARRAYS, PICTURES, ClassMap, Description, PositiveMap, RegressionMap, Target
from mtcp.core.errors import UserError
from mtcp.core.tasks import VOID
from mtcp.data.formats.depth_units import metres
from mtcp.data.formats.label_codings import classes_of, from_colours
from mtcp.data.formats.layouts import Layout, Split, Traits, mask, read_ids, read_vectors, require_depth_bits
from mtcp.data.formats.matlab import read_context, read_parts
from mtcp.data.preparation.derive import edges_from_labels

#: The copy of a description in a set's folder.
COPY: Final = "layout.yaml"
#: Suffixes of pictures, also of those that are not read.
_ALL_PICTURES: Final = (
    *PICTURES, ".avif", ".bmp", ".gif", ".heic", ".jp2", ".pgm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip


class DescribedLayout(Layout):
    """A set that is read by its description."""

    def __init__(self, kind: str, description: Description, folder: Path, classes: int | None = None) -> None:
        super().__init__(folder, classes)
        self.kind, self.description, self.reading = kind, description, description.reading()
        self.title, self.licence = description.title, description.licence
        self.usual = description.counts.model_dump() if description.counts else {}
        self._targets = description.tasks.given()
        kinds = description.tasks.kinds
        self._traits = {task: _traits(kinds[task], target) for task, target in self._targets.items()}
        self._patterns = {task: _ended(target.files, ARRAYS) for task, target in self._targets.items()}
        self._images = _ended(description.images, PICTURES)
        # A plain dictionary: workers receive the layout by pickle, which cannot handle a read-only view.
        self.places = {
            task: tuple((PurePosixPath(stem).parent.as_posix(), endings) for stem, endings in patterns)
            for task, patterns in self._patterns.items()
        }
        self.marker = _fixed(description.lists or description.images[0])
        self.recognised_by = _recognised_by(description)

    def listed(self, split: Split) -> tuple[tuple[str, ...], list[str]]:
        """Return the ids of the split's list, or of the existing photographs, and the problems found."""
        if self.description.lists is not None:
            return read_ids(self._list(split))
        name = getattr(self.description.splits, split)
        counts = Counter(image_id for image_id, opened in self._found if opened["split"] == name)
        if not counts:
            pattern = self.folder / self.description.images[0].replace("{split}", name)
            return (), [f"no photograph matches {pattern}: split '{name}' needs at least one"]
        return tuple(sorted(counts)), _id_problems(counts, name)

    def _list(self, split: Split) -> Path:
        return self.folder / (self.description.lists or "").format(split=getattr(self.description.splits, split))

    def traits(self, task: str) -> Traits:
        """What the description says about one target."""
        return self._traits[task]

    def list_files(self) -> list[Path]:
        """The lists of the splits, and the description."""
        lists: Sequence[Split] = ("train", "val") if self.description.lists else ()
        return [*map(self._list, lists), self.folder / COPY]

    @cached_property
    def _found(self) -> list[tuple[str, dict[str, str]]]:
        """(id, values of the pattern's placeholders) of all existing photographs, in order of name."""
        found = {}
        for stem, endings in self._images:
            expression = re.compile(_expression(stem, endings), re.IGNORECASE)
            for name in _beside(self.folder, stem):
                if match := expression.fullmatch(name):
                    found[name.rpartition(".")[0]] = (match["id"], match.groupdict())
        return [found[name] for name in sorted(found)]

    @cached_property
    def _opened(self) -> dict[str, list[dict[str, str]]]:
        opened: dict[str, list[dict[str, str]]] = {}
        for image_id, one in self._found:
            opened.setdefault(image_id, []).append(one)
        return opened

    def _open(self, image_id: str) -> list[dict[str, str]]:
        """The values of an image's placeholders; more than one entry (a problem) if its id is in several folders."""
        if not any("{split}" in stem or "{folder}" in stem for stem, _ in self._images):
            return [{"id": image_id}]
        return self._opened.get(image_id, [{"id": image_id, "split": self.description.splits.train, "folder": "*"}])

    def _at(self, patterns: Sequence[tuple[str, tuple[str, ...]]], opened: dict[str, str]) -> Iterator[Path]:
        """All possible paths of an image's file, in the order in which they are tried."""
        for stem, endings in patterns:
            for ending in (*endings, *map(str.upper, endings)):  # endings in capitals come last
                yield self.folder / f"{stem.format(**opened)}{ending}"

    def files(self, image_id: str) -> list[Path]:
        """Return the existing files of one image, the photograph first."""
        patterns = (self._images, *self._patterns.values())
        found = [_first(self._at(one, opened)) for opened in self._open(image_id) for one in patterns]
        return [path for path in found if path is not None]

    def find(self, task: str, image_id: str) -> Path | None:
        """Return the first existing file."""
        return _first(self._at(self._patterns[task], self._open(image_id)[0]))

    def expected(self, task: str, image_id: str) -> Path:
        """Return the path that is tried first."""
        return next(self._at(self._patterns[task], self._open(image_id)[0]))

    def image_path(self, image_id: str) -> Path:
        """Return the photograph's file; raises `UserError` where it is missing."""
        opened = self._open(image_id)[0]
        path = _first(self._at(self._images, opened))
        if path is None:
            raise UserError(
                f"image '{image_id}': {next(self._at(self._images, opened))} is missing though the split list "
                "names it; complete the folder and import it again"
            )
        return path

    def claims(self, name: Path, ids: Collection[str]) -> bool:
        """Whether the file `name` matches a pattern for one of the images `ids`, with any suffix."""
        place = name.as_posix().removesuffix(name.suffix)
        stems = [stem for patterns in (self._images, *self._patterns.values()) for stem, _ in patterns]
        found = (re.fullmatch(_expression(stem), place) for stem in stems)
        return any(match and match["id"] in ids for match in found)

    def stored(self, task: str, path: Path, image_id: str) -> NDArray[Any]:
        """Return the values of a target's file as stored; .mat files are in PASCAL_MT's format."""
        if path.suffix.lower() == ".mat":
            return (read_parts if self.traits(task).kind == "human_parts" else read_context)(path, image_id)
        target = self._targets[task]
        if isinstance(target, ClassMap) and target.coding == "colours":
            return from_colours(read_vectors(path, image_id), f"image '{image_id}': {path}")
        return super().stored(task, path, image_id)

    def _semseg(self, task: str, values: NDArray[np.uint8], path: Path, image_id: str) -> NDArray[np.uint8]:
        described = self._targets[task]
        assert isinstance(described, ClassMap)
        if described.values is not None and self.coding(task, "coding") is None:
            return _table(described)[values]
        return super()._semseg(task, values, path, image_id)

    def _human_parts(self, task: str, values: NDArray[np.uint8], path: Path, image_id: str) -> NDArray[np.uint8]:
        """An image without any body part is void: in the literature, it is used for neither training nor evaluation."""
        described = self._targets[task]
        assert isinstance(described, ClassMap)
        if path.suffix.lower() != ".mat":
            values = _table(described)[values] if described.values else classes_of(values, described.coding)
        return values if ((values > 0) & (values != VOID)).any() else np.full_like(values, VOID)

    def _depth(self, task: str, values: NDArray[Any], path: Path, image_id: str) -> NDArray[np.float32]:
        described = self._targets[task]
        assert isinstance(described, PositiveMap)
        unit = self.coding(task, "unit") or described.unit
        return _metres(values, unit, described.offset, f"image '{image_id}': {path}")

    def _regression(self, task: str, values: NDArray[Any], path: Path, image_id: str) -> NDArray[np.float32]:
        described = self._targets[task]
        assert isinstance(described, RegressionMap)
        return _numbers(described, values, f"image '{image_id}': {path}")

    def _sal(self, task: str, values: NDArray[np.uint8], path: Path, image_id: str) -> NDArray[np.uint8]:
        return _saliency(values, "0/1/255" if path.suffix.lower() == ".npy" else self.coding(task, "coding"))

    def _edge(self, task: str, values: NDArray[Any], path: Path, image_id: str) -> NDArray[np.uint8]:
        if path.suffix.lower() == ".mat":
            return edges_from_labels(values, void=0)
        return super()._edge(task, values, path, image_id)


def _id_problems(counts: Mapping[str, int], split: str) -> list[str]:
    """The problems of the ids that the photographs of a split give, from the number of files of each."""
    twice = sorted(image_id for image_id, count in counts.items() if count > 1)
    odd = sorted(image_id for image_id in counts if not image_id.isprintable())  # no table could hold them
    return [f"image '{one}' lies in two folders of the split '{split}'" for one in twice] + [
        f"photograph {one!r} of the split '{split}' has a name that is not UTF-8 or has a line break: rename it"
        for one in odd
    ]


def left_out(layout: DescribedLayout) -> list[str]:
    """Names of pictures that lie where photographs do and are not read: other suffixes, second ones, no files."""
    if layout.description.lists is not None:  # which choose
        return []
    used = (layout.description.splits.train, layout.description.splits.val)
    ids = (image_id for split in ("train", "val") for image_id in layout.listed(split)[0])
    read = {path.relative_to(layout.folder).as_posix() for image_id in ids for path in layout.files(image_id)}
    found = set()
    for pattern in layout.description.images:
        stem = pattern.rpartition(".")[0]
        expression = re.compile(_expression(stem, _ALL_PICTURES), re.IGNORECASE)
        matches = filter(None, map(expression.fullmatch, _beside(layout.folder, stem)))
        found |= {match[0] for match in matches if match.groupdict().get("split", used[0]) in used}
    return sorted(found - read)


def _beside(folder: Path, stem: str) -> list[str]:
    """Names of everything that lies where photographs of one pattern do, whatever its suffix, in order."""
    paths = sorted(folder.glob(f"{re.sub(r'{.*?}', '*', glob.escape(stem))}.*"))
    return [path.relative_to(folder).as_posix() for path in paths if not path.name.startswith(".")]


def _traits(kind: str, target: Target) -> Traits:
    match target:
        case ClassMap():
            coding = target.coding if target.coding != "colours" else "zero"
            return Traits(kind, labels=coding, names=tuple(target.names))
        case PositiveMap():
            return Traits(kind, unit=target.unit, disparity=target.quantity == "disparity", median=target.median)
    return Traits(kind)


def _recognised_by(description: Description) -> str:
    splits = (description.splits.train, description.splits.val)
    if description.lists is None:
        return f"photographs {description.images[0]} of the splits {splits[0]} and {splits[1]}"
    lists = [description.lists.format(split=split) for split in splits]
    return f"{lists[0]} and {lists[1]}, which list the images,"


def _metres(values: NDArray[Any], unit: str | None, offset: float, where: str) -> NDArray[np.float32]:
    require_depth_bits(values, where)
    if not np.isfinite(values).all():
        raise UserError(f"{where} holds NaN or infinite depth; mark missing depth by 0")
    if offset:
        values = np.where(values > 0, values.astype(np.float32) - np.float32(offset), np.float32(0))
    return metres(values, unit)


def _numbers(described: RegressionMap, values: NDArray[Any], where: str) -> NDArray[np.float32]:
    if np.isinf(values).any():
        raise UserError(f"{where} holds infinite values: mark pixels without truth by NaN, or by the value of `void`")
    known = ~np.isnan(values)
    if described.void is not None:
        known &= values != described.void
    found = np.where(known, values, 0).astype(np.float32) * np.float32(described.scale)
    found += np.float32(described.offset)
    if not np.isfinite(found).all():
        raise UserError(f"{where} holds values beyond the range of float32")
    # 255 means void, so a valid value of 255 becomes the next smaller float32.
    found[found == VOID] = np.nextafter(np.float32(VOID), np.float32(0))
    return np.where(known, found, np.float32(VOID))


def _saliency(values: NDArray[Any], coding: str | None) -> NDArray[np.uint8]:
    return mask(values) if coding == "0/1/255" else (values > (0 if coding == "0/1" else 127)).astype(np.uint8)


def _table(described: ClassMap) -> NDArray[np.uint8]:
    """The class of each stored value (256,); values without a class are void."""
    table = np.full(256, VOID, np.uint8)
    for value, klass in (described.values or {}).items():
        table[value] = klass
    return table


def _ended(patterns: Sequence[str], usual: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """Patterns without suffix, each with its possible suffixes; neighbours that differ only in suffix are merged."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for pattern in patterns:
        stem, _, ending = pattern.rpartition(".")
        endings = usual if ending == "*" else (f".{ending}",)
        if found and found[-1][0] == stem:
            found[-1] = (stem, (*found[-1][1], *endings))
        else:
            found.append((stem, endings))
    return found


def _fixed(pattern: str) -> str:
    """The leading folders of a pattern that have no placeholder."""
    parts = []
    for part in PurePosixPath(pattern).parts[:-1]:
        if "{" in part:
            break
        parts.append(part)
    return "/".join(parts)


def _expression(stem: str, endings: tuple[str, ...] = ()) -> str:
    """A pattern as a regular expression with the groups split, folder and id, optionally followed by a suffix."""
    seen: set[str] = set()
    parts = []
    for part in re.split(r"({\w+})", stem):
        name = part[1:-1] if part.startswith("{") else ""
        parts.append(re.escape(part) if not name else rf"(?P={name})" if name in seen else rf"(?P<{name}>[^/]+)")
        seen.add(name)
    return "".join(parts) + (f"(?:{'|'.join(map(re.escape, endings))})" if endings else "")


def _first(candidates: Iterator[Path]) -> Path | None:
    return next(filter(Path.is_file, candidates), None)
