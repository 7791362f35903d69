"""Targets derived from others: edges from label boundaries, normals from depth."""

import numpy as np
from numpy.typing import NDArray

from mtcp.tasks import VOID


def edges_from_labels(labels: NDArray[np.integer], void: int | None = VOID) -> NDArray[np.uint8]:
    """Return 1 where a label differs from its right or lower neighbour, else 0: boundaries one pixel wide.

    `labels` (H, W). Pixels labelled `void` become 255 (not judged), and a border against void is no edge.
    """
    edges = np.zeros(labels.shape, np.uint8)
    known = np.ones(labels.shape, bool) if void is None else labels != void
    edges[:, :-1] |= (labels[:, :-1] != labels[:, 1:]) & known[:, :-1] & known[:, 1:]
    edges[:-1] |= (labels[:-1] != labels[1:]) & known[:-1] & known[1:]
    edges[~known] = VOID
    return edges
