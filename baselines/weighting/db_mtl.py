"""Dual-balancing multi-task learning."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import GradientScheme, SchemeContext, scheme


@scheme("db_mtl")
class DBMTL(GradientScheme):
    """Dual balancing of losses and gradients (Lin et al., 2023, algorithm 1).

    Losses enter as log l_t. On the shared parameters, h_t <- beta h_t + (1 - beta) g_t / l_t is a running mean of the
    gradients, and the update is max_t ||h_t|| sum_t h_t / ||h_t||. All other parameters descend sum_t log l_t. As in
    the authors' code, the running means start at 0, so max_t ||h_t|| acts as a warm-up of the update's length.

    Caveat: needs positive losses; the running means need T times the shared parameters in memory and in the state.
    """

    moved_by = "always"

    running: Tensor
    updates: Tensor

    class Parameters(GradientScheme.Parameters):
        beta: float = Field(0.9, ge=0, lt=1, description="share of the past in the running mean of gradients")
        beta_sigma: float = Field(0.0, ge=0, description="the share falls with the step s as beta / s^beta_sigma")

    def __init__(self, context: SchemeContext, parameters: "DBMTL.Parameters") -> None:
        super().__init__(context, parameters)
        tasks, size = len(context.tasks), self.shared_size
        self.register_buffer("running", torch.zeros(tasks, size))
        self.register_buffer("updates", torch.zeros(tasks, dtype=torch.long))

    def combined(self, jacobian: Tensor, gramian: Tensor, losses: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the update and max ||h|| / (||h_t|| l_t), the factor of every gradient in the running means.

        These are not the coefficients of the combination of this step's gradients that is nearest to the update: those
        are sometimes negative, because h_t includes past gradients, although no task is traded off against another.
        """
        self.positive(losses, present)
        self.updates[present] += 1
        for row, loss, task, updates in zip(jacobian, losses, present, self.updates[present].tolist(), strict=True):
            self.running[task].lerp_(row / loss, 1 - self.options.beta / updates**self.options.beta_sigma)
        norms = torch.stack([self.running[task].norm() for task in present])
        scales = torch.where(norms > 0, norms.max() / norms.clamp(min=1e-30), 0.0)
        update = torch.zeros_like(jacobian[0])
        for task, scale in zip(present, scales, strict=True):
            update.add_(self.running[task] * scale)
        return update, (scales / losses).double().cpu()

    def other_weights(self, losses: Tensor, present: Tensor) -> Tensor:
        self.positive(losses, present)
        return 1 / losses
