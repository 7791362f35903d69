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

    Caveat: the aligned gradients do not conflict, but the update may ascend a task: a short gradient at more than 135
    degrees to a long one. A task whose gradient is long and close to the others' gets a negative coefficient, although
    the update descends its loss. With nearly dependent gradients, the smallest singular value and so the update become
    small, unless they are dependent but for float32's rounding: then that value is dropped. The authors' code drops
    eigenvalues at float32's resolution, so for three tasks singular values below 1/1600 of the largest, which then do
    not shorten the update.
    """

    moved_by = "always"
    signed = True

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        with solving(self):
            left, values, _ = np.linalg.svd(solvers.coordinates(gramian.numpy()), full_matrices=False)
        if not values.size:
            return torch.zeros(len(gramian), dtype=torch.float64)
        return torch.from_numpy(left @ (left.sum(0) * (values[-1] / values)))
