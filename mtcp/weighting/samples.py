"""A second sample of the tasks' gradients, for schemes that need two that are independent of each other."""

import torch
from torch import Tensor, nn

from mtcp.weighting.shared import products_of


class PreviousGradients(nn.Module):
    """The gradients (T, P) of the step before each task's last, part of `state_dict`.

    The product of one batch's gradients with themselves overestimates G by their noise; the product of two batches'
    does not (Chen et al., NeurIPS 2023). Here the second batch is that of the step before, at the parameters of then.
    """

    rows: Tensor
    known: Tensor

    def __init__(self, tasks: int, size: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(tasks, size))
        self.register_buffer("known", torch.zeros(tasks, dtype=torch.bool))

    def products(self, jacobian: Tensor, present: Tensor) -> Tensor:
        """Return <g_i, g'_j> (k, k) in float64 on the CPU, with g the rows of `jacobian` (k, P) and g' those before.

        A task that was never present before stands for itself. The gradients of `jacobian` are kept for the next time.
        """
        if len(present) == len(self.known) and self.known.all():  # nearly always, and indexing copies
            found = products_of(jacobian, self.rows)
            self.rows.copy_(jacobian)
            return found
        before, new = self.rows[present], ~self.known[present]
        before[new] = jacobian[new]
        self.rows[present] = jacobian
        self.known[present] = True
        return products_of(jacobian, before)
