"""Gradient surgery."""

import torch
from torch import Tensor

from mtcp.api import GramianScheme, scheme


@scheme("pcgrad")
class PCGrad(GramianScheme):
    """Gradient surgery (Yu et al., NeurIPS 2020, algorithm 1): removes conflicting components by projection.

    For the other tasks j in random order, every g_t loses its component along g_j where <g_t, g_j> < 0; the update is
    the sum of the results. The order comes from the scheme's own random stream.

    Caveat: without conflict, it is exactly the plain sum.
    """

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        draws = torch.Generator().manual_seed(self.step_seed())
        remaining = torch.eye(len(gramian), dtype=gramian.dtype)
        for task, row in enumerate(remaining):
            for other in torch.randperm(len(gramian), generator=draws).tolist():
                along = row @ gramian[other]
                if other != task and along < 0:
                    row[other] -= along / gramian[other, other]
        return remaining.sum(0)
