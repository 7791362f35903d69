"""Fast adaptive multi-task optimisation."""

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import LossScheme, PluginParameters, SchemeContext, scheme


@scheme("famo")
class FAMO(LossScheme):
    """Fast adaptive multi-task optimisation (Liu et al., NeurIPS 2023): equal relative decrease.

    With z = softmax(xi): total = k c sum_t z_t log l_t, c = 1 / sum_t (z_t / l_t) a constant, so that the effective
    weights sum to k. After the optimiser's step the same batch gives l'_t, and xi descends with Adam (rate 0.025,
    weight decay 0.001) along the derivative of z times log l_t - log l'_t.

    Caveat: needs positive losses and one more forward pass a step, in training mode, which moves running statistics
    a second time, as in the authors' code; under accumulation it compares the last micro-batch alone.
    """

    cost = "forward"

    class Parameters(PluginParameters):
        rate: float = Field(0.025, gt=0, description="learning rate of the logits xi")
        decay: float = Field(1e-3, ge=0, description="weight decay of the logits, the paper's gamma")

    def __init__(self, context: SchemeContext, parameters: "FAMO.Parameters") -> None:
        super().__init__(context, parameters)
        tasks = len(context.tasks)
        for name in ("logits", "first_moment", "second_moment", "before"):
            self.register_buffer(name, torch.zeros(tasks))
        self.register_buffer("updates", torch.zeros(()))

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        self.positive(losses, present)
        self.before.fill_(torch.nan)
        self.before[present] = losses.detach().to(self.before)
        z = torch.softmax(self.logits[present], 0)
        constant = 1 / (z / losses.detach()).sum()
        return len(losses) * constant * (z * losses.log()).sum()

    @torch.no_grad()
    def after_step(self, recompute: Callable[[], dict[str, Tensor]]) -> None:
        """One step of Adam on the logits; an absent task counts as unchanged and outside of the softmax."""
        after = recompute()
        both = [i for i, task in enumerate(self.tasks) if task in after and not self.before[i].isnan()]
        if not both:
            return
        new = torch.stack([after[self.tasks[i]] for i in both]).to(self.before)
        self.positive(new, torch.tensor(both))
        change = self.before[both].log() - new.log()
        z = torch.softmax(self.logits[both], 0)
        gradient = self.options.decay * self.logits
        gradient[both] += z * (change - (z * change).sum())
        self._adam(gradient)

    def _adam(self, gradient: Tensor) -> None:
        self.updates += 1
        self.first_moment.lerp_(gradient, 1 - 0.9)
        self.second_moment.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
        first = self.first_moment / (1 - 0.9**self.updates)
        second = self.second_moment / (1 - 0.999**self.updates)
        self.logits -= self.options.rate * first / (second.sqrt() + 1e-8)
