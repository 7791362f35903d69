"""Independent component alignment."""

import numpy as np
import torch
from torch import Tensor

from mtcp.api import GramianScheme, scheme, solvers, solving


@scheme("aligned_mtl")
class AlignedMTL(GramianScheme):
    """Independent component alignment (Senushkin et al., CVPR 2023).

    The gradient matrix is replaced by the nearest one with orthogonal rows whose length is its smallest singular value;
    the update is the sum of the rows: condition number 1, no conflict, no dominance.

    Caveat: with nearly dependent gradients, the smallest singular value and so the update become small. A task whose
    gradient is long and close to the others' gets a negative coefficient, although the update still descends its loss.
    Singular values are dropped at float64's resolution. LibMTL drops them at that of float32, as eigenvalues: for three
    tasks below about 1/1600 of the largest, which then do not shorten the update.
    """

    moved_by = "always"
    signed = True

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        with solving(self):
            # Uses the gradients in k coordinates: the Gramian, a squared matrix, would lose small singular values.
            left, values, _ = np.linalg.svd(solvers.coordinates(gramian.numpy()))
        kept = values > len(values) * np.finfo(np.float64).eps * values[0]
        if not kept.any():
            return torch.zeros(len(values), dtype=torch.float64)
        left, values = left[:, kept], values[kept]
        return torch.from_numpy(left @ (left.sum(0) * (values.min() / values)))
