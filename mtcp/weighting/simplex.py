"""Weights on the simplex that change every step, for whichever tasks are present."""

import numpy as np
import torch
from torch import Tensor, nn

from mtcp.weighting.solvers import Array


class SimplexWeights(nn.Module):
    """Weights (T,) >= 0 that sum to 1, starting at 1/T; part of `state_dict`.

    A step redistributes weight among the tasks present in it. Their sum and absent tasks' weights do not change.
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
        """Store new weights (k,) that sum to 1, and return them as a tensor on the CPU."""
        found = torch.from_numpy(weights)
        self.shares[present] = self.shares[present].sum() * found.to(self.shares)
        return found
