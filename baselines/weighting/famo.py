"""Fast adaptive multi-task optimisation."""

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor, nn

from mtcp.api import LossScheme, PluginParameters, SchemeContext, scheme


@scheme("famo")
class FAMO(LossScheme):
    """Fast adaptive multi-task optimisation (Liu et al., NeurIPS 2023): equal relative decrease.

    With z = softmax(xi): total = k c sum_t z_t log l_t, where c = 1 / sum_t (z_t / l_t) is held constant, so that the
    effective weights sum to k. After the optimiser step the same batch has the losses l'_t, and xi descends
    sum_t z_t (log l_t - log l'_t) with Adam (`rate`, weight decay `decay`).

    Caveat: needs positive losses and one more forward pass per step, in training mode, which updates running statistics
    a second time, as in the authors' code; with gradient accumulation it compares only the last micro-batch.
    """

    cost = "forward"

    before: Tensor

    class Parameters(PluginParameters):
        rate: float = Field(0.025, gt=0, description="learning rate of the logits xi")
        decay: float = Field(1e-3, ge=0, description="weight decay of the logits, the paper's gamma")

    def __init__(self, context: SchemeContext, parameters: "FAMO.Parameters") -> None:
        super().__init__(context, parameters)
        tasks = len(context.tasks)
        self.logits = nn.Parameter(torch.zeros(tasks))
        self.register_buffer("before", torch.full((tasks,), torch.nan))

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        self.positive(losses, present)
        self.before.fill_(torch.nan)
        self.before[present] = losses.detach().to(self.before)
        z = torch.softmax(self.logits.detach()[present], 0)
        constant = 1 / (z / losses.detach()).sum()
        return len(losses) * constant * (z * losses.log()).sum()

    @torch.no_grad()
    def after_step(self, recompute: Callable[[], dict[str, Tensor]]) -> None:
        """Set the gradient of the logits; the logit of a task absent from the comparison does not change."""
        after = recompute()
        both = [i for i, task in enumerate(self.tasks) if task in after and not self.before[i].isnan()]
        self.seen &= torch.tensor([i in both for i in range(len(self.tasks))])
        if not both:
            return
        new = torch.stack([after[self.tasks[i]] for i in both]).to(self.before)
        self.positive(new, torch.tensor(both))
        change = self.before[both].log() - new.log()
        z = torch.softmax(self.logits[both], 0)
        gradient = self.options.decay * self.logits
        gradient[both] += z * (change - (z * change).sum())
        self.logits.grad = gradient
