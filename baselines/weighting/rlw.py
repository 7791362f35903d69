"""Random loss weighting."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import LossScheme, PluginParameters, scheme


@scheme("rlw")
class RLW(LossScheme):
    """Random loss weighting (Lin et al., TMLR 2022, algorithm 2), a litmus test for every other scheme.

    At every step of the optimiser w = k softmax(z), z ~ N(0, I) (`normal`), or w ~ k Dirichlet(1, ..., 1)
    (`dirichlet`), for the k present tasks; the mean of every weight is 1.

    Caveat: a scheme that does not beat this one has not been shown to have any effect.
    """

    class Parameters(PluginParameters):
        distribution: Literal["normal", "dirichlet"] = Field("normal", description="of the weights at each step")

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        draws = torch.Generator().manual_seed(self.update_seed())
        if self.options.distribution == "normal":
            weights = torch.softmax(torch.randn(len(losses), generator=draws), 0)
        else:
            exponential = torch.empty(len(losses)).exponential_(generator=draws)
            weights = exponential / exponential.sum()
        return (len(losses) * weights.to(losses) * losses).sum()
