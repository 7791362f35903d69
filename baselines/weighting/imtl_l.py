"""Impartial multi-task learning, loss balance."""

import torch
from torch import Tensor, nn

from mtcp.api import LossScheme, PluginParameters, SchemeContext, scheme


@scheme("imtl_l")
class IMTLL(LossScheme):
    """Impartial multi-task learning, loss balance (Liu et al., ICLR 2021).

    total = sum_t exp(s_t) l_t - s_t with s_t learned, from 0: at the optimum over s_t every scaled loss is 1.

    Caveat: it equals uncertainty weighting up to a factor and the sign of s_t; s_t learns at the network's rate.
    """

    def __init__(self, context: SchemeContext, parameters: PluginParameters) -> None:
        super().__init__(context, parameters)
        self.log_scale = nn.Parameter(torch.zeros(len(context.tasks)))

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        s = self.log_scale[present]
        return (s.exp() * losses - s).sum()
