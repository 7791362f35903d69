"""Conflict-free gradients."""

import torch
from torch import Tensor

from mtcp.api import GramianScheme, scheme, solvers, solving


@scheme("config")
class ConFIG(GramianScheme):
    """ConFIG, conflict-free update (Liu, Chu and Thuerey, ICLR 2025, equation 2).

    With u the unit vector of pinv(unit gradients) 1, which has the same positive cosine with every gradient:
    update = (sum_t <g_t, u>) u.

    Caveat: where unit gradients are nearly dependent, the direction is ill-conditioned.
    """

    moved_by = "always"
    signed = True

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        lengths, cosines = solvers.unit_gramian(gramian.numpy())
        with solving(self):
            direction, shares, _ = solvers.equal_cosines(lengths, cosines)
        along = cosines @ direction
        gains, square = lengths @ along, direction @ along
        return torch.from_numpy(shares * (gains / square if square > 0 else 0.0))
