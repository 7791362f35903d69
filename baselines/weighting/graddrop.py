"""Gradient sign dropout."""

import torch
from torch import Tensor

from mtcp.api import JacobianScheme, scheme


@scheme("graddrop")
class GradDrop(JacobianScheme):
    """Gradient sign dropout (Chen et al., NeurIPS 2020, algorithm 1): each entry keeps one sign.

    For every entry p of the shared parameters: P = (1 + sum_t g_tp / sum_t |g_tp|) / 2 is the purity of the positive
    sign; with probability P only the positive g_tp are summed, otherwise only the negative ones.

    Caveat: the paper drops entries at the representation; here, as in the libraries, at the shared parameters. The
    update is not a combination of gradients; the logged coefficients belong to the nearest one. An entry with no
    gradient has the purity 0/0, and its update is 0.
    """

    moved_by = "always"
    signed = True

    def combine(self, jacobian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        draws = torch.Generator(jacobian.device).manual_seed(self.step_seed())
        positive, negative = jacobian.clamp(min=0).sum(0), jacobian.clamp(max=0).sum(0)
        purity = positive / (positive - negative)  # no draw is below NaN: the entry gets its negative sum, 0
        drawn = torch.rand(purity.shape, generator=draws, device=purity.device, dtype=purity.dtype)
        return torch.where(drawn < purity, positive, negative)
