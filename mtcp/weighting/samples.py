"""A second sample of the tasks' gradients, for schemes that need two independent samples."""

import torch
from torch import Tensor, nn

from mtcp.weighting.shared import products_of


class PreviousGradients(nn.Module):
    """Each task's gradient (T, P) from the previous step in which it was present; part of `state_dict`.

    Products of one batch's gradients with themselves overestimate G by their noise; products of two batches' gradients
    do not (Chen et al., NeurIPS 2023). Here the second batch is that of the previous step, at that step's parameters.
    """

    rows: Tensor
    known: Tensor

    def __init__(self, tasks: int, size: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(tasks, size))
        self.register_buffer("known", torch.zeros(tasks, dtype=torch.bool))

    def products(self, jacobian: Tensor, present: Tensor) -> Tensor:
        """Return <g_i, g'_j> (k, k) in float64 on the CPU, with g the rows of `jacobian` (k, P) and g' the stored ones.

        For a task that was never present before, g' is g. The gradients of `jacobian` are stored for the next call.
        """
        if len(present) == len(self.known) and self.known.all():  # the usual case, without the copies of indexing
            found = products_of(jacobian, self.rows)
            self.rows.copy_(jacobian)
            return found
        before, new = self.rows[present], ~self.known[present]
        before[new] = jacobian[new]
        self.rows[present] = jacobian
        self.known[present] = True
        return products_of(jacobian, before)
