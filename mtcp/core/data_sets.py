"""Descriptions of data sets: folders, splits, codings and classes of a set, in one YAML file.

`data/NAME.yaml` describes a user's set, `mtcp/data/bundled/*.yaml` the standard ones. A benchmark's `layout` names one
of either kind. `mtcp.data.formats.described` reads a set by its description.
"""

import re
from collections.abc import Iterable
from functools import cache
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from mtcp.core.errors import UserError, alternatives
from mtcp.core.files import read_yaml, visible
from mtcp.core.plugins import PACKAGE_ROOT
from mtcp.core.task_names import task_name_fault
from mtcp.core.tasks import KINDS, Kind, Task, in_order
from mtcp.core.validation import Model, fault, validated

BUNDLED: Final = PACKAGE_ROOT / "mtcp/data/bundled"
#: Layouts that are read by code in `mtcp.data.formats` instead of a description, and the quantity of their depth.
CODED: Final = {"mtan_nyuv2": "depth", "mtan_cityscapes": "disparity"}
#: File name endings that `.*` stands for.
PICTURES: Final = (".jpg", ".png", ".jpeg")
ARRAYS: Final = (".npy", ".png")
#: Placeholders of a pattern: the split's folder, one further folder of any name, the image's id.
_OPEN: Final = {"split", "folder", "id"}


def _pattern(pattern: str) -> str:
    if "{id}" not in PurePosixPath(pattern).name:
        raise ValueError("a file's pattern has {id} in its last part, as in images/{id}.png")
    return _placed(pattern)


def _placed(pattern: str) -> str:
    """Return the pattern; raises `ValueError` where it leaves the set's folder or has an unknown placeholder."""
    strange = {*re.findall(r"{(.*?)}", pattern)} - _OPEN
    if strange or pattern.count("{") != pattern.count("}"):
        raise ValueError(
            f"unknown {{{', '.join(sorted(strange))}}}: a pattern may have {{split}}, {{folder}} and {{id}}"
        )
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts or "\\" in pattern:
        raise ValueError("patterns are relative to the set's folder, with / between folders")
    return pattern


def _list_pattern(pattern: str) -> str:
    if "{split}" not in pattern or "{id}" in pattern or "{folder}" in pattern:
        raise ValueError("the lists' pattern has {split}, and neither {folder} nor {id}, as in lists/{split}.txt")
    return _placed(pattern)


def _several(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def _endings(allowed: tuple[str, ...]) -> Any:
    def check(pattern: str) -> str:
        if not pattern.endswith((*allowed, ".*")):
            raise ValueError(f"ends in none of {', '.join(allowed)} and .*, which stands for all that are usual")
        return pattern

    return AfterValidator(check)


_Pattern = Annotated[str, AfterValidator(_pattern)]
#: A pattern, or several.
_ONE_OR_MORE: Final = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
}
_Images = Annotated[
    list[Annotated[_Pattern, _endings(PICTURES)]],
    BeforeValidator(_several),
    Field(min_length=1, description="the photographs' pattern, or several in the order in which they are tried"),
    WithJsonSchema(_ONE_OR_MORE),
]
_Files = Annotated[
    list[Annotated[_Pattern, _endings((*ARRAYS, ".mat"))]],
    BeforeValidator(_several),
    Field(min_length=1, description="the files' pattern, or several in the order in which they are tried"),
    WithJsonSchema(_ONE_OR_MORE),
]
#: Stored value of a label picture -> class.
_Values = Annotated[dict[Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=253)]], Field(min_length=1)]


class Target(Model):
    """A target map of a set; subclasses add how its values are stored."""

    files: _Files
    kind: Kind | None = Field(
        None, description="for a map with its own name: the standard task whose coding, loss and metrics it takes"
    )


class ClassMap(Target):
    """One class per pixel (semseg, human_parts): images of one channel, with 8 bits or 16 bits and values up to 255."""

    names: list[str] = Field(default_factory=list, description="names of the classes, from class 0")
    coding: Literal["zero", "one", "colours"] = Field(
        "zero", description="zero: classes from 0, 255 void; one: classes from 1, 0 void; colours: VOC's palette"
    )
    values: _Values | None = Field(
        None, description="stored value: class, instead of `coding`; every value that is not here is void"
    )

    @property
    def classes(self) -> int | None:
        """The number of classes: that of `names`, else of the classes in `values`; None where neither is given."""
        return len(self.names) or (max(self.values.values()) + 1 if self.values else None)

    @model_validator(mode="after")
    def _values_are_classes(self) -> "ClassMap":
        if self.values is not None:
            if "coding" in self.model_fields_set:
                raise ValueError("`values` says what each stored value is, instead of `coding`: give one of them")
            if gaps := {*range(max(self.values.values()))} - {*self.values.values()}:
                raise ValueError(f"`values` has no class {min(gaps)}: number classes from 0 without gaps")
        if self.values is not None and self.names and max(self.values.values()) >= len(self.names):
            raise ValueError(f"`values` has class {max(self.values.values())}, and there are {len(self.names)} `names`")
        return self


class PositiveMap(Target):
    """One positive number per pixel (depth): floating-point arrays, or 16-bit images; 0 and below is void."""

    unit: str | None = Field(
        None, description="m, dm, cm, mm, a fraction such as 1/256, or inverse; null: integers mm, floating point m"
    )
    offset: float = Field(0.0, description="taken from the stored values before they are scaled; what is 0 stays void")
    quantity: Literal["depth", "disparity"] = Field(
        "depth", description="a disparity is larger where nearer; benchmarks say its unit"
    )
    median: tuple[float, float] | None = Field(
        None, description="bounds of the median over the whole set (m), outside of which import doubts the unit"
    )

    @model_validator(mode="after")
    def _offset_has_a_unit(self) -> "PositiveMap":
        if self.offset and self.unit is None:
            raise ValueError("`offset` needs `unit`, the size of the stored steps")
        if self.unit not in (None, "m", "dm", "cm", "mm", "inverse") and not re.fullmatch(
            r"1/(?![0.]+$)\d+(\.\d+)?", self.unit or ""
        ):
            raise ValueError(f"`unit` is {self.unit}: expected m, dm, cm, mm, a fraction such as 1/256, or inverse")
        return self


class VectorMap(Target):
    """One unit vector per pixel (normals; x right, y down): arrays (H, W, 3), or images, n = 2v/255 - 1; 0 is void."""


class BinaryMap(Target):
    """One binary value per pixel (sal, edge): images or arrays; arrays may use 255 for void."""


class RegressionMap(Target):
    """One number per pixel (regression), of either sign, in the set's unit: arrays, or images of one channel.

    Value = stored x `scale` + `offset`; pixels stored as `void` or NaN are void.
    """

    void: float | None = Field(None, description="stored value of pixels without truth; null: only NaN in arrays")
    scale: float = Field(1.0, description="size of one stored step")
    offset: float = Field(0.0, description="value of a stored 0")

    @field_validator("scale")
    @classmethod
    def _scale_is_a_size(cls, scale: float) -> float:
        if not (scale and isfinite(scale)):
            raise ValueError("`scale` is the size of one stored step, and not 0")
        return scale


def _of_its_kind(given: Any) -> Any:
    kind = given.get("kind") if isinstance(given, dict) else None
    if kind is None:
        raise ValueError(
            f"a map with its own name needs a `kind`, the standard task that it is like: {', '.join(KINDS)}"
        )
    if kind not in KINDS:
        raise ValueError(f"unknown `kind: {kind}`{alternatives(str(kind), KINDS)}")
    form, _ = get_args(DataTasks.model_fields[kind].annotation)
    return form.model_validate(given)


_Own = Annotated[
    ClassMap | PositiveMap | VectorMap | BinaryMap | RegressionMap,
    BeforeValidator(_of_its_kind),
]


class DataTasks(Model):
    """The targets of a set: the standard ones, and further ones under any name, each in the form of its `kind`."""

    model_config = ConfigDict(extra="allow")
    # pydantic's way to type the extra keys; it declares the attribute as a mapping of any values, or None.
    __pydantic_extra__: dict[str, _Own] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]
    semseg: ClassMap | None = Field(None, description="semantic classes")
    human_parts: ClassMap | None = Field(None, description="parts of people; class 0 is everything else")
    depth: PositiveMap | None = Field(None, description="depth, or disparity")
    sal: BinaryMap | None = Field(None, description="saliency")
    normals: VectorMap | None = Field(None, description="surface normals")
    edge: BinaryMap | None = Field(None, description="boundaries")
    regression: RegressionMap | None = Field(None, description="any other number per pixel")

    @model_validator(mode="after")
    def _names_are_tasks(self) -> "DataTasks":
        for name, target in self.given().items():
            if fault := task_name_fault(name):
                raise ValueError(fault)
            if name in KINDS and target.kind not in (None, name):
                raise ValueError(f"{name} is a standard task, and not of the kind {target.kind}: take its `kind` out")
        return self

    def given(self) -> dict[str, Target]:
        """The described targets by task, in the order of tasks."""
        names = in_order([*type(self).model_fields, *self.__pydantic_extra__])
        return {name: target for name in names if (target := getattr(self, name)) is not None}

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each described target, by task."""
        return {name: target.kind or name for name, target in self.given().items()}


class Splits(Model):
    """The names of the splits in the set's folders and lists."""

    train: str = Field(default="train", description="the images that networks are trained on")
    val: str = Field(default="val", description="the images that networks are judged on")


class Counts(Model):
    """The usual numbers of images per split; import warns where a copy has other numbers."""

    train: int = Field(ge=1, description="images to train on")
    val: int = Field(ge=1, description="images to judge on")


class Description(Model):
    """`data/NAME.yaml`: the layout of a data set on disk. Patterns are relative to its folder."""

    title: str = Field(description="what the set is called in its lock and in reports")
    licence: str = Field("", description="a sentence for data/NAME.lock.json")
    images: _Images
    lists: Annotated[str, AfterValidator(_list_pattern)] | None = Field(
        None, description="pattern of the lists of ids, one a line; null: a split's images are the files that are there"
    )
    splits: Splits = Field(Splits(), description="what the splits are called")
    counts: Counts | None = Field(None, description="images of the splits that everybody uses; null: no such thing")
    tasks: DataTasks = Field(description="the targets, by task")

    def reading(self) -> dict[str, Any]:
        """The part that determines the images and targets read: all but title, licence, counts and semseg's names."""
        return self.model_dump(exclude={"title": True, "licence": True, "counts": True, "tasks": {"semseg": {"names"}}})

    @model_validator(mode="after")
    def _places_are_known(self) -> "Description":
        if self.lists is None and not all("{split}" in pattern for pattern in self.images):
            raise ValueError("without `lists` the pattern of `images` needs {split}: which image is in which split?")
        given = self.tasks.given()
        if not given:
            raise ValueError("`tasks` describes no target")
        patterns = [pattern for target in given.values() for pattern in target.files]
        if any("{folder}" in pattern for pattern in patterns) and "{folder}" not in self.images[0]:
            raise ValueError("{folder} is the photograph's: the pattern of `images` needs it, too")
        kinds = self.tasks.kinds
        for name, target in given.items():
            if kinds[name] == "human_parts" and isinstance(target, ClassMap) and len(target.names) not in (0, 7):
                raise ValueError("human_parts has 7 classes, background included")
        return self


def description_path(name: str, root: Path | None = None) -> Path | None:
    """The description file of layout `name`, in the project `root` or else in mtcp; None if there is none."""
    folders = ([root / "data"] if root is not None else []) + [BUNDLED]
    return next((path for folder in folders if (path := folder / f"{name}.yaml").is_file()), None)


def own_description(name: str, root: Path) -> Path | None:
    """The user's description of layout `name` in the project `root`; None where there is none."""
    path = description_path(name, root)
    return path if path is not None and path.parent != BUNDLED else None


def layout_names(root: Path | None = None) -> list[str]:
    """Names of all layouts: those of mtcp, and those described in the project `root`."""
    own = [path.stem for path in visible(root / "data", "*.yaml")] if root is not None else []
    return [*dict.fromkeys([*sorted(path.stem for path in BUNDLED.glob("*.yaml")), *CODED, *own])]


def read_description(path: Path) -> Description:
    """Read a description; raises `UserError` with file, line and key of every error."""
    return _read(path, path.stat().st_mtime_ns)


@cache
def _read(path: Path, _modified_ns: int) -> Description:
    if path.parent != BUNDLED and (path.stem in CODED or (BUNDLED / path.name).exists()):
        raise UserError(f"{path}: '{path.stem}' is a layout that comes with mtcp: give the file another name")
    return validated(Description, read_yaml(path, dict), path)


def require_layout(layout: str, tasks: Iterable[Task], root: Path, path: Path) -> None:
    """Raise `UserError` where the layout of the benchmark file `path` is unknown or lacks one of `tasks`."""
    described = description_path(layout, root)
    if described is None and layout not in CODED:
        raise fault(
            path, ("layout",), f"unknown layout '{layout}': describe it in data/{layout}.yaml, or use one of "
            f"{', '.join(layout_names(root))}",
        )  # fmt: skip
    given = read_description(described).tasks if described else None
    own = described is not None and described.parent != BUNDLED
    known = given.kinds if given else dict(zip(KINDS, KINDS, strict=True))
    for task in tasks:
        name = task.name
        if name not in known:
            raise fault(path, ("tasks", name), f"layout '{layout}' has no '{name}'{alternatives(name, known)}")
        if known[name] != task.kind:
            raise fault(
                path,
                ("tasks", name, "kind"),
                f"{task.kind} here, and {known[name]} in {described}: let both say the same",
            )
        target = given.given()[name] if given else None
        if (
            own
            and task.kind == "semseg"
            and isinstance(target, ClassMap)
            and target.classes not in (None, task.channels)
        ):
            what = f"{task.channels} here but {target.classes} in {described}: use the same number in both"
            raise fault(path, ("tasks", name, "classes"), what)
        if task.kind == "depth":
            quantity = target.quantity if isinstance(target, PositiveMap) else CODED.get(layout, "depth")
            if (quantity == "disparity") != task.disparity:
                said = "a disparity: say its unit, such as px" if quantity == "disparity" else "in metres: leave it out"
                raise fault(path, ("tasks", name, "unit"), f"'{name}' of layout '{layout}' is {said}")
