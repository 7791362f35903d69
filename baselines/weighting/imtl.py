"""Impartial multi-task learning, losses and gradients."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import GramianScheme, LogWeights, scheme, solvers, solving


@scheme("imtl")
class IMTL(LogWeights, GramianScheme):
    """Impartial multi-task learning, loss and gradient balance together (Liu et al., ICLR 2021, algorithm 1).

    As in `imtl_l`, s_t is learned, from 0: every loss is scaled to L_t = exp(s_t) l_t, and s_t descends L_t - s_t by
    Adam at `rate`. Shared parameters get the update of `imtl_g` for the scaled losses' gradients h_t = exp(s_t) g_t:
    k sum_t a_t h_t with sum_t a_t = 1 and equal projections onto all h_t / ||h_t||. All others descend sum_t L_t.

    Caveat: as with `imtl_g`, some coefficients may be negative. Scaling the losses changes the update's length; its
    direction stays, or is reversed where the sum of the unscaled shares changes its sign.
    """

    moved_by = "always"
    signed = True

    class Parameters(GramianScheme.Parameters):
        rate: float = Field(0.025, gt=0, description="learning rate of the log weights, by Adam")

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        scales = self.other_weights(losses, present)
        self.means.add(losses, present)
        gradient = torch.zeros_like(self.log_weight)
        gradient[present] = scales * losses - 1
        self.log_weight.grad = gradient if self.log_weight.grad is None else self.log_weight.grad + gradient
        lengths, cosines = solvers.unit_gramian(gramian.numpy())
        scales = scales.double().cpu().numpy()
        with solving(self):
            return torch.from_numpy(scales * solvers.impartial_shares(scales * lengths, cosines))

    def other_weights(self, losses: Tensor, present: Tensor) -> Tensor:
        return self.log_weight.detach()[present].exp()
