"""Names of the classes of the data sets that the benchmarks read, in the order of their labels."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mtcp.core.data_sets import description_path, read_description
from mtcp.core.tasks import Task

#: The 13 classes of Handa et al. (CVPR 2016); the categories of Cityscapes (Cordts et al., CVPR 2016). Described sets
#: have their class names in their descriptions.
_NAMES: Final = {
    ("mtan_nyuv2", 13): (
        "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv", "wall",
        "window",
    ),
    ("mtan_cityscapes", 7): ("flat", "construction", "object", "nature", "sky", "human", "vehicle"),
}  # fmt: skip

#: The parts of a person, from 0.
PARTS: Final = ("background", "head", "torso", "upper arm", "lower arm", "upper leg", "lower leg")


def class_names(layout: str, tasks: Iterable[Task], packaging: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """Return the class names of each classification task: those recorded with the data, else those of the layout.

    Empty where neither has a name for each of the task's classes.
    """
    return {task.name: _names(layout, task, packaging) for task in tasks if task.classifies}


def _names(layout: str, task: Task, packaging: Mapping[str, Any]) -> Sequence[str]:
    if task.kind == "human_parts":
        return PARTS
    semseg = task.name == "semseg"
    own = packaging.get("classes", ()) if semseg else packaging.get(task.name, {}).get("names", ())
    if len(own) == task.channels:
        return own
    return semseg_names(layout, task.channels) if semseg else ()


def semseg_names(layout: str, classes: int) -> Sequence[str]:
    """Return the semseg class names of a layout shipped with mtcp, if it has `classes` of them; else empty."""
    path = description_path(layout)
    semseg = read_description(path).tasks.semseg if path else None
    described = semseg.names if semseg else []
    return described if len(described) == classes else _NAMES.get((layout, classes), ())
