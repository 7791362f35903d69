"""Names of the semantic classes of the data sets that the benchmarks read, in the order of their labels."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

#: The 40 classes of Gupta, Arbeláez and Malik (CVPR 2013), numbered from 0; the 13 of Handa et al. (CVPR 2016); the
#: categories of Cityscapes (Cordts et al., CVPR 2016); VOC's 20 with the background.
_NAMES: Final = {
    ("nyud", 40): (
        "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture",
        "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes",
        "ceiling", "books", "refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard",
        "person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag", "other structure", "other furniture",
        "other prop",
    ),
    ("mtan_nyuv2", 13): (
        "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv", "wall",
        "window",
    ),
    ("mtan_cityscapes", 7): ("flat", "construction", "object", "nature", "sky", "human", "vehicle"),
    ("pascal", 21): (
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
    ),
}  # fmt: skip

#: The parts of human_parts, from 0.
PARTS: Final = ("background", "head", "torso", "upper arm", "lower arm", "upper leg", "lower leg")


def class_names(layout: str, classes: int, packaging: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of `classes` semantic classes: those recorded with the data, else the data set's own.

    Empty where neither is known, as of a packaging with another number of classes.
    """
    return packaging.get("classes") or _NAMES.get((layout, classes), ())
