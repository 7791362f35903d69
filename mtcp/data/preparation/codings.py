"""How an imported set stores its targets: what the user states, and what its values show."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mtcp.core.errors import UserError
from mtcp.core.tasks import VOID
from mtcp.data.formats.depth_units import INVERSE, steps_per_metre
from mtcp.data.formats.label_codings import CODINGS
from mtcp.data.formats.layouts import Layout, read_plane
from mtcp.data.preparation.plausibility import DOUBTS


@dataclass(frozen=True)
class Told:
    """What the user states about a set: how depth and labels are stored, and which doubts to accept."""

    depth_unit: str | None = None
    label_coding: str | None = None
    accept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.depth_unit not in (None, INVERSE):
            steps_per_metre(self.depth_unit)
        if self.label_coding not in (None, *CODINGS):
            meanings = "; ".join(f"{name}: {meaning}" for name, meaning in CODINGS.items())
            raise UserError(f"--label-coding {self.label_coding}: expected one of {meanings}")
        for code in self.accept:
            if code not in DOUBTS:
                raise UserError(f"--accept {code}: expected one of {', '.join(DOUBTS)}")

    def packaging(self) -> dict[str, Any]:
        """The entries of packaging.json and the lock file; empty if nothing was stated."""
        entries: dict[str, Any] = {"depth": {"unit": self.depth_unit}} if self.depth_unit else {}
        if self.label_coding:
            entries["semseg"] = {"coding": self.label_coding}
        return entries | ({"accepted": sorted(set(self.accept))} if self.accept else {})


def mask_codings(layout: Layout, ids: list[str]) -> dict[str, Any]:
    """Find out how masks are stored where a set's values tell it and it is not the usual way.

    Usual are pictures from black to white, and arrays of 0, 1 and 255 for void. Others are 0/1 (saliency), 0/255
    (arrays of edges) and 0/1/255 (pictures with void). Reads files until the answer is known.
    """
    found: dict[str, Any] = {}
    for task in layout.places:
        kind = layout.traits(task).kind
        seen: set[float] = set()
        pictures = False
        for image_id in ids if kind in ("sal", "edge") else ():
            path = layout.find(task, image_id)
            if path is None or path.suffix.lower() == ".mat":
                continue
            try:
                seen.update(np.unique(read_plane(path, image_id)).tolist())
            except UserError:
                continue  # the check names it
            pictures = path.suffix.lower() != ".npy"
            if not seen <= {0, 1, VOID} or (1 in seen and not pictures):
                break
        if pictures and {1, VOID} <= seen <= {0, 1, VOID}:
            found[task] = {"coding": "0/1/255"}
        elif pictures and kind == "sal" and {1} <= seen <= {0, 1}:
            found[task] = {"coding": "0/1"}
        elif not pictures and kind == "edge" and {VOID} <= seen <= {0, VOID}:
            found[task] = {"coding": "0/255"}
    return found
