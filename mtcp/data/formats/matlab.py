"""MATLAB files: PASCAL-Part annotations and PASCAL-Context labels."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mtcp.core.errors import UserError
from mtcp.data.formats.file_kinds import it_is

#: PASCAL-Part's object category of people.
PERSON: Final = 15
#: The parts of Chen et al., "Detect What You Can", CVPR 2014, in the usual six groups; 0 is background.
_PARTS: Final = {
    1: "head leye reye lear rear lebrow rebrow nose mouth hair",
    2: "torso neck",
    3: "luarm ruarm",
    4: "llarm rlarm lhand rhand",
    5: "luleg ruleg",
    6: "llleg rlleg lfoot rfoot",
}
_PART_OF: Final = {name: part for part, names in _PARTS.items() for name in names.split()}


def read_mat(path: Path, image_id: str) -> dict[str, Any]:
    """Read a MATLAB file of version 7 or older as nested dictionaries; raises `UserError` where it is damaged."""
    from scipy.io import loadmat

    try:
        return loadmat(path, simplify_cells=True)
    except Exception as error:  # SciPy raises many kinds on damaged files
        raise UserError(
            f"image '{image_id}': {path} is not a readable .mat file ({error}){it_is(path)}: fetch it again"
        ) from error


def read_parts(path: Path, image_id: str) -> NDArray[np.uint8]:
    """Return the six-part map (H, W) of all people in a PASCAL-Part file: 0 background, 1 head to 6 lower leg.

    Later people cover earlier ones, as in the usual readers; a person without parts counts as background.
    """
    try:
        objects = read_mat(path, image_id)["anno"]["objects"]
        objects = [objects] if isinstance(objects, dict) else list(objects)
        parts = np.zeros(objects[0]["mask"].shape, np.uint8)
        for person in (one for one in objects if int(one["class_ind"]) == PERSON):
            pieces = person["parts"]
            for piece in [pieces] if isinstance(pieces, dict) else list(pieces):
                parts[piece["mask"].astype(bool)] = _PART_OF[str(piece["part_name"])]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(
            f"image '{image_id}': {path} is not a PASCAL-Part annotation ({error!r}); expected anno.objects with "
            "class_ind, mask and parts of known names"
        ) from error
    return parts


def read_context(path: Path, image_id: str) -> NDArray[np.integer]:
    """Return PASCAL-Context's full label map (H, W) of a trainval .mat file."""
    content = read_mat(path, image_id)
    if "LabelMap" not in content:
        raise UserError(f"image '{image_id}': {path} has no LabelMap; expected a PASCAL-Context annotation")
    return content["LabelMap"]
