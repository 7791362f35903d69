"""Impartial multi-task learning, gradient balance."""

import torch
from torch import Tensor

from mtcp.api import GramianScheme, scheme, solvers, solving


@scheme("imtl_g")
class IMTLG(GramianScheme):
    """Impartial multi-task learning, gradient balance (Liu et al., ICLR 2021).

    update = k sum_t c_t g_t with sum_t c_t = 1 and equal projections onto all unit gradients g_t / ||g_t||. Tasks
    without a gradient are left out, of k as well. The update is 0 where gradients cancel each other out.

    Caveat: the coefficients are unbounded: with three or more tasks some may be negative, and for nearly parallel
    gradients of different norms they explode. Where the unscaled shares sum to less than 0, the update ascends every
    loss; the code of LibMTL does the same.
    """

    moved_by = "always"
    signed = True

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        with solving(self):
            return torch.from_numpy(solvers.impartial_shares(*solvers.unit_gramian(gramian.numpy())))
