"""Gradient normalisation."""

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import GramianScheme, SchemeContext, scheme


@scheme("gradnorm")
class GradNorm(GramianScheme):
    """Gradient normalisation (Chen et al., ICML 2018, algorithm 1): tasks train at similar rates.

    total = sum_t w_t l_t. With n_t = w_t ||g_t|| on the shared parameters, n the mean of n_t, and
    r_t = (l_t / l_t(0)) / mean_j (l_j / l_j(0)): w descends sum_t |n_t - n r_t^alpha| with the target n r_t^alpha held
    constant, and is rescaled to sum to the number of tasks T.

    Caveat: the paper leaves the optimiser of w open; here it is plain gradient descent, with the gradient divided by
    mean ||g_t|| so that `rate` has no unit, and with weights clamped to at least 0.001 before they are rescaled.
    l_t(0) is the first batch's loss above 0; until there is one, the task's weight stays. The paper takes norms on the
    last shared layer alone. With `accumulation: micro_batch`, a step's last micro-batch moves the weights.
    """

    moved_by = "always"

    moved: Tensor
    task_weights: Tensor
    first: Tensor

    class Parameters(GramianScheme.Parameters):
        alpha: float = Field(1.5, ge=0, description="strength of the restoring force; larger for dissimilar tasks")
        rate: float = Field(0.025, gt=0, description="step size of the weights")

    def __init__(self, context: SchemeContext, parameters: "GradNorm.Parameters") -> None:
        super().__init__(context, parameters)
        tasks = len(context.tasks)
        self.register_buffer("moved", torch.ones(tasks, dtype=torch.float64))
        self.register_buffer("task_weights", torch.ones(tasks, dtype=torch.float64))
        self.register_buffer("first", torch.full((tasks,), torch.nan, dtype=torch.float64))

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        losses, norms = losses.double(), gramian.diagonal().sqrt().to(losses.device)
        first = self.first[present]
        first = torch.where(first.isnan() & (losses > 0), losses, first)  # a zero is no unit
        self.first[present] = first
        weights, known = self.task_weights[present], ~first.isnan()
        moved = self._moved(weights[known], norms[known], (losses / first)[known])
        self.moved = self.moved.index_put((present[known],), moved)
        return weights.cpu()

    def other_weights(self, losses: Tensor, present: Tensor) -> Tensor:
        return self.task_weights[present].to(losses)

    def after_step(self, recompute: Callable[[], dict[str, Tensor]]) -> None:
        """Update the weights once per step, and rescale those of the tasks that took part to their previous sum."""
        took_part = self.seen.to(self.moved.device) & ~self.first.isnan()
        if took_part.any():
            self.moved[took_part] *= self.task_weights[took_part].sum() / self.moved[took_part].sum()
            self.task_weights.copy_(self.moved)

    def _moved(self, weights: Tensor, norms: Tensor, progress: Tensor) -> Tensor:
        if not norms.sum() * progress.sum() > 0:  # nothing to compare: no gradient, or no loss
            return weights
        sizes = weights * norms
        target = sizes.mean() * (progress / progress.mean()) ** self.options.alpha
        gradient = torch.sign(sizes - target) * norms / norms.mean()
        return (weights - self.options.rate * gradient).clamp(min=1e-3)
