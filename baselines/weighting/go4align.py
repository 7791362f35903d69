"""Group optimisation for multi-task alignment."""

from itertools import combinations, pairwise

import numpy as np
import torch
from pydantic import Field
from scipy.special import softmax
from torch import Tensor

from mtcp.api import LossScheme, PluginParameters, SchemeContext, SimplexWeights, scheme


@scheme("go4align")
class GO4Align(LossScheme):
    """Group optimisation for multi-task alignment (Shen et al., NeurIPS 2024): similar tasks share a weight.

    p <- p exp(-step l), normalised, starting from 1/T, and v_t = p_t sum_j l_j / l_t, which is 1 for equal losses. The
    v_t are clustered into `groups` groups by k-means, and w_t is the mean of t's group. total = sum_t w_t l_t. k-means
    is solved exactly, as the best of all cuts of the sorted values; the authors' code starts from random centres.

    Caveat: needs positive losses. p moves in every micro-batch. With one group, the default of the authors' command
    line, all weights are equal; with as many groups as tasks, w_t = v_t.
    """

    class Parameters(PluginParameters):
        groups: int = Field(2, ge=1, description="number of groups")
        step: float = Field(1e-4, gt=0, description="step size of p")

    def __init__(self, context: SchemeContext, parameters: "GO4Align.Parameters") -> None:
        super().__init__(context, parameters)
        self.simplex = SimplexWeights(len(context.tasks))

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        self.positive(losses, present)
        values = losses.detach().double().cpu().numpy()
        risks = softmax(np.log(self.simplex.of(present)) - self.options.step * values)
        self.simplex.keep(risks, present)
        weights = grouped(risks * values.sum() / values, self.options.groups)
        return (torch.from_numpy(weights).to(losses) * losses).sum()


def grouped(values: np.ndarray, groups: int) -> np.ndarray:
    """Replace every value (k,) by the mean of its group, for the grouping with the least within-group squared error."""
    order, count = np.argsort(values), len(values)
    best, least = values, np.inf
    for cuts in combinations(range(1, count), min(groups, count) - 1):
        means = np.empty(count)
        for first, last in pairwise((0, *cuts, count)):
            means[order[first:last]] = values[order[first:last]].mean()
        spread = float(np.square(values - means).sum())
        if spread < least:
            best, least = means, spread
    return best
