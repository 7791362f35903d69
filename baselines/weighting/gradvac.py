"""Gradient vaccine."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import GramianScheme, SchemeContext, scheme


@scheme("gradvac")
class GradVac(GramianScheme):
    """Gradient vaccine (Wang et al., ICLR 2021, equation 3 and algorithm 1): pulls gradients to their usual angle.

    For every task i and, in random order, every other task j: let phi be the cosine between the (already changed) g_i
    and g_j, and phi' its running mean. Where phi < phi', add g_j times
    ||g_i|| (phi' sqrt(1 - phi^2) - phi sqrt(1 - phi'^2)) / (||g_j|| sqrt(1 - phi'^2)) to g_i; then
    phi' <- (1 - beta) phi' + beta phi. The update is the sum of the changed gradients.

    Caveat: phi' starts at 0, so the first steps change only conflicting gradients, as PCGrad does. What is added grows
    without bound as phi' approaches 1: after many steps of nearly parallel gradients, the update at one step that is
    not so is many times as long as its gradients. The paper compares layer by layer; here, as in LibMTL by default, all
    shared parameters are compared at once. phi' moves at every comparison, as in the paper; LibMTL moves it only where
    a gradient is changed.
    """

    usual: Tensor

    class Parameters(GramianScheme.Parameters):
        beta: float = Field(0.5, ge=0, le=1, description="share of the newest cosine in the running mean")

    def __init__(self, context: SchemeContext, parameters: "GradVac.Parameters") -> None:
        super().__init__(context, parameters)
        self.register_buffer("usual", torch.zeros(len(context.tasks), len(context.tasks), dtype=torch.float64))

    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        draws = torch.Generator().manual_seed(self.step_seed())
        tasks, usual = present.tolist(), self.usual.cpu()
        changed = torch.eye(len(tasks), dtype=gramian.dtype)
        for i, row in enumerate(changed):
            for j in torch.randperm(len(tasks), generator=draws).tolist():
                if i == j:
                    continue
                size, other = (row @ gramian @ row).clamp(min=0).sqrt(), gramian[j, j].sqrt()
                if size * other == 0:
                    continue
                phi = ((row @ gramian[j]) / (size * other)).clamp(-1, 1)
                target = usual[tasks[i], tasks[j]]
                if phi < target:
                    sine, target_sine = (1 - phi**2).sqrt(), (1 - target**2).sqrt().clamp(min=1e-8)
                    row[j] += size * (target * sine - phi * target_sine) / (other * target_sine)
                usual[tasks[i], tasks[j]] = target.lerp(phi, self.options.beta)
        self.usual.copy_(usual)
        return changed.sum(0)
