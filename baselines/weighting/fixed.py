"""Fixed weights."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import LossScheme, PluginParameters, SchemeContext, UserError, scheme


@scheme("fixed")
class Fixed(LossScheme):
    """Fixed weights, tuned by hand or by search (Xin et al., NeurIPS 2022; Kurin et al., NeurIPS 2022).

    total = sum_t w_t l_t with the given w_t.

    Caveat: in a fair comparison, every other scheme is tuned over as many configurations as these weights were.
    """

    moved_by = "nothing"

    weights: Tensor

    class Parameters(PluginParameters):
        weights: dict[str, float] = Field(description="weight of every task, by name")

    def __init__(self, context: SchemeContext, parameters: "Fixed.Parameters") -> None:
        super().__init__(context, parameters)
        given = parameters.weights
        if set(given) != set(context.tasks):
            raise UserError(
                f"scheme 'fixed', parameter 'weights': needs one weight for each of {', '.join(context.tasks)}, "
                f"got {', '.join(given) or 'none'}"
            )
        if max(given.values()) <= 0:
            raise UserError(
                "scheme 'fixed', parameter 'weights': no task has a positive weight, so that nothing is learned"
            )
        self.register_buffer("weights", torch.tensor([given[task] for task in context.tasks]))

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        return (self.weights[present] * losses).sum()
