"""Weights on the simplex that move a little every step, whichever tasks take part in it."""

import numpy as np
import torch
from torch import Tensor, nn

from mtcp.weighting.solvers import Array


class SimplexWeights(nn.Module):
    """Weights (T,) >= 0 that sum to 1, from 1/T; part of `state_dict`.

    The tasks present in a step move their weights among each other: what they sum to, and the weight of a task that is
    absent, stay.
    """

    shares: Tensor

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.register_buffer("shares", torch.full((tasks,), 1 / tasks, dtype=torch.float64))

    def of(self, present: Tensor) -> Array:
        """Return the weights (k,) of the present tasks, scaled to sum to 1; equal where all of them are 0."""
        shares = self.shares[present].cpu().numpy()
        return shares / shares.sum() if shares.any() else np.full(len(shares), 1 / len(shares))

    def keep(self, weights: Array, present: Tensor) -> Tensor:
        """Take over new weights (k,) that sum to 1, and return them as a tensor on the CPU."""
        found = torch.from_numpy(weights)
        self.shares[present] = self.shares[present].sum() * found.to(self.shares)
        return found
