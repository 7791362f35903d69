"""Names of the semantic classes of the data sets that the benchmarks read, in the order of their labels."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mtcp.core.data_sets import description_path, read_description

#: The 13 classes of Handa et al. (CVPR 2016); the categories of Cityscapes (Cordts et al., CVPR 2016). Those of sets
#: that are described stand in their descriptions.
_NAMES: Final = {
    ("mtan_nyuv2", 13): (
        "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv", "wall",
        "window",
    ),
    ("mtan_cityscapes", 7): ("flat", "construction", "object", "nature", "sky", "human", "vehicle"),
}  # fmt: skip

#: The parts of human_parts, from 0.
PARTS: Final = ("background", "head", "torso", "upper arm", "lower arm", "upper leg", "lower leg")


def class_names(layout: str, classes: int, packaging: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of `classes` semantic classes: those recorded with the data, else the data set's own.

    Empty where neither is known, as of a packaging with another number of classes.
    """
    if packaging.get("classes"):
        return packaging["classes"]
    path = description_path(layout)
    semseg = read_description(path).tasks.semseg if path else None
    described = semseg.names if semseg else []
    return described if len(described) == classes else _NAMES.get((layout, classes), ())
