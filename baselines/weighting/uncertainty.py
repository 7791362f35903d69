"""Uncertainty weighting."""

import torch
from torch import Tensor, nn

from mtcp.api import LossScheme, PluginParameters, SchemeContext, scheme


@scheme("uncertainty")
class Uncertainty(LossScheme):
    """Homoscedastic uncertainty (Kendall, Gal and Cipolla, CVPR 2018, equation 7).

    total = sum_t (exp(-s_t) l_t + s_t) / 2 for regression; with s_t = log sigma_t^2 learned, from 0. As in most
    code the one form serves every task, and the common factor 1/2 of the first term is left out:
    total = sum_t exp(-s_t) l_t + s_t / 2, so that training starts from equal weights 1.

    Caveat: s_t is unbounded below, hence weights grow as losses vanish; its learning rate is the network's.
    """

    def __init__(self, context: SchemeContext, parameters: PluginParameters) -> None:
        super().__init__(context, parameters)
        self.log_variance = nn.Parameter(torch.zeros(len(context.tasks)))

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        s = self.log_variance[present]
        return (torch.exp(-s) * losses + s / 2).sum()
