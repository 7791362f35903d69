"""Direction-oriented multi-objective gradients."""

import numpy as np
from pydantic import Field
from torch import Tensor

from mtcp.api import GradientScheme, PreviousGradients, SchemeContext, SimplexWeights, scheme, solvers, solving


@scheme("sdmgrad")
class SDMGrad(GradientScheme):
    """Stochastic direction-oriented multi-objective gradient descent (Xiao, Ban and Ji, NeurIPS 2023, algorithm 1).

    With g the mean gradient: update = k (sum_t w_t g_t + strength g) / (1 + strength), with the w on the simplex that
    minimises ||sum_t w_t g_t + strength g||. w is found by `iterations` steps of projected gradient descent with
    momentum, from the last step's w, on D_ij = <g_i, g'_j>, g' being the gradients of another batch. As in LibMTL's
    code, D is divided by 1e-8 plus the square of the mean of sqrt(max(D_ii, 0)).

    Caveat: strength 0 is multiple gradient descent, a large one the plain sum. The paper draws three batches per step,
    two for w and one for the update. Here the update's batch is one of those two, and the other is the previous step's,
    at that step's parameters. The previous gradients need T times the shared parameters in memory and in the state.
    """

    moved_by = "always"

    class Parameters(GradientScheme.Parameters):
        strength: float = Field(0.3, ge=0, description="lambda, the pull to the mean gradient")
        iterations: int = Field(20, ge=1, description="steps to the weights, in every step of training")
        rate: float = Field(5.0, gt=0, description="size of these steps")
        momentum: float = Field(0.5, ge=0, lt=1, description="momentum of these steps")

    def __init__(self, context: SchemeContext, parameters: "SDMGrad.Parameters") -> None:
        super().__init__(context, parameters)
        self.previous = PreviousGradients(len(context.tasks), self.shared_size)
        self.simplex = SimplexWeights(len(context.tasks))

    def combined(self, jacobian: Tensor, gramian: Tensor, losses: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the update and its coefficients k (w + strength / k) / (1 + strength)."""
        products = self.previous.products(jacobian, present).numpy()
        with solving(self):
            weights = self._weights(products, self.simplex.of(present))
        weights = self.simplex.keep(weights, present)
        shares = (len(weights) * weights + self.options.strength) / (1 + self.options.strength)
        return shares.to(jacobian) @ jacobian, shares

    def _weights(self, products: solvers.Array, weights: solvers.Array) -> solvers.Array:
        scale = np.sqrt(products.diagonal().clip(min=0)).mean()
        products = products / (scale**2 + 1e-8)
        pull, speed = self.options.strength * products.mean(1), np.zeros_like(weights)
        for _ in range(self.options.iterations):
            speed = self.options.momentum * speed + products @ weights + pull
            weights = solvers.onto_simplex(weights - self.options.rate * speed)
        return weights
