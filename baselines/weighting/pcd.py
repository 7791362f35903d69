"""Priority-constrained descent."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import GramianScheme, SchemeContext, require_task, scheme, solvers, solving


@scheme("pcd")
class PCD(GramianScheme):
    """Priority-constrained descent (TMLR 2026, arXiv 2606.29521): one primary task, a least gain for all others.

    With v_t the running mean of ||g_t||^2 and h_t = g_t / sqrt(v_t + epsilon): d is the vector nearest to h_p, p the
    primary task, with <h_t, d> >= tau ||h_t||^2 for every other task. update = d ||g_p|| / ||d||, or g_p where no such
    d exists. Solved exactly.

    Caveat: tasks are not treated alike: the primary one is `primary`, by default the benchmark's first. A step without
    the primary task takes the plain sum. The update has the length of the primary gradient, even where another one is
    so opposed to it that the update ascends the primary loss; coefficients are not scaled to sum to k.
    """

    moved_by = "always"

    class Parameters(GramianScheme.Parameters):
        primary: str | None = Field(None, description="the task that comes first; null: the benchmark's first task")
        tau: float = Field(0.02, ge=0, le=1, description="share of its own gain that every other task is granted")
        beta: float = Field(0.999, ge=0, lt=1, description="share of the past in the running means")
        epsilon: float = Field(1e-8, ge=0, description="added to the running means")

    squares: Tensor
    updates: Tensor

    def __init__(self, context: SchemeContext, parameters: "PCD.Parameters") -> None:
        super().__init__(context, parameters)
        self.primary = parameters.primary or context.tasks[0]
        require_task(self, "primary", self.primary)
        tasks = len(context.tasks)
        self.register_buffer("squares", torch.zeros(tasks, dtype=torch.float64))
        self.register_buffer("updates", torch.zeros(tasks, dtype=torch.float64))

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        scales = self._scales(gramian.diagonal(), present)
        order = sorted(range(len(present)), key=lambda i: self.tasks[int(present[i])] != self.primary)
        if self.tasks[int(present[order[0]])] != self.primary:
            return torch.ones_like(scales)
        normal = (gramian * torch.outer(scales, scales))[order][:, order].numpy()
        with solving(self):
            found = solvers.priority_constrained(normal, self.options.tau * normal.diagonal()[1:])
        coefficients = torch.zeros_like(scales)
        if found is None:
            coefficients[order[0]] = 1.0
            return coefficients
        coefficients[order] = torch.from_numpy(found) * scales[order]
        square = float(coefficients @ gramian @ coefficients)
        length = float(gramian[order[0], order[0]]) ** 0.5
        return coefficients * (length / square**0.5 if square > 0 else 0.0)

    def _scales(self, squares: Tensor, present: Tensor) -> Tensor:
        """Update the running means v_t with the squared lengths, and return 1 / sqrt(v_t + epsilon) (k,)."""
        means, beta = self.squares[present].cpu(), self.options.beta
        means = beta * means + (1 - beta) * squares
        self.squares[present] = means.to(self.squares)
        self.updates[present] += 1
        unbiased = means / (1 - beta ** self.updates[present].cpu())
        return (unbiased + self.options.epsilon).clamp(min=1e-300).rsqrt()
