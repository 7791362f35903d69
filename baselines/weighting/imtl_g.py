"""Impartial multi-task learning, gradient balance."""

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
        with solving(self):
            _, shares = solvers.equal_cosines(*solvers.unit_gramian(gramian.numpy()))
        return torch.from_numpy(len(shares) * shares / shares.sum())
