"""Projection of the sum of gradients."""

import numpy as np
import torch
from torch import Tensor

from mtcp.api import GramianScheme, scheme, solvers, solving


@scheme("dualproj")
class DualProj(GramianScheme):
    """Projection of the sum onto the dual cone (Lopez-Paz and Ranzato, NeurIPS 2017, equation 11; GEM).

    update = the vector nearest to sum_t g_t that conflicts with no gradient.

    Caveat: without conflict, the update is the plain sum.
    """

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        with solving(self):
            return torch.from_numpy(solvers.dual_cone_projections(gramian.numpy(), np.ones((1, len(gramian))))[0])
