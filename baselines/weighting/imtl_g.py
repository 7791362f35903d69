"""Impartial multi-task learning, gradient balance."""

import numpy as np
import torch
from torch import Tensor

from mtcp.api import GramianScheme, scheme, solvers, solving


@scheme("imtl_g")
class IMTLG(GramianScheme):
    """Impartial multi-task learning, gradient balance (Liu et al., ICLR 2021).

    update = k sum_t c_t g_t, sum_t c_t = 1, whose projections onto all unit gradients g_t / ||g_t|| are equal.

    Caveat: nothing bounds the coefficients: with three and more tasks some are negative at times, and for nearly
    parallel gradients of unlike norms they run away.
    """

    moved_by = "always"
    signed = True

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        lengths, cosines = solvers.unit_gramian(gramian.numpy())
        with solving(self):
            direction = np.linalg.pinv(cosines, hermitian=True).sum(1)
        shares = direction / np.where(lengths > 0, lengths, np.inf)
        return torch.from_numpy(len(shares) * shares / shares.sum())
