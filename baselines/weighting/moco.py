"""Multi-objective gradient correction."""

from typing import Literal

import torch
from pydantic import Field
from scipy.special import softmax
from torch import Tensor

from mtcp.api import GradientScheme, SchemeContext, SimplexWeights, gramian_of, scheme, solvers, solving


@scheme("moco")
class MoCo(GradientScheme):
    """Multi-objective gradient correction (Fernando et al., ICLR 2023, algorithm 1): weights from tracked gradients.

    Every task's gradient is tracked by y_t <- y_t - b (y_t - g_t), from 0, with b = beta / s^beta_sigma in step s. Each
    step moves the weights one step towards the shortest vector in the tracked gradients' convex hull:
    w <- projection of w - c (Y + rho I) w onto the simplex, from 1/T, with Y the matrix of the products <y_i, y_j> and
    c = gamma / s^gamma_sigma. update = k sum_t w_t y_t. With `normalised`, as in LibMTL's code, g_t is scaled to the
    length l_t; `projection: softmax` also follows that code.

    Caveat: the tracked gradients need T times the shared parameters in memory and in the state. The softmax of values
    between 0 and 1 is nearly uniform, so with `projection: softmax` the weights stay nearly equal.
    """

    moved_by = "always"

    class Parameters(GradientScheme.Parameters):
        beta: float = Field(0.5, gt=0, le=1, description="step of the tracked gradients")
        beta_sigma: float = Field(0.5, ge=0, description="it falls with the step s as beta / s^beta_sigma")
        gamma: float = Field(0.1, gt=0, description="step of the weights")
        gamma_sigma: float = Field(0.5, ge=0, description="it falls with the step s as gamma / s^gamma_sigma")
        rho: float = Field(0.0, ge=0, description="pull to equal weights")
        normalised: bool = Field(True, description="every gradient is brought to the length of its loss")
        projection: Literal["simplex", "softmax"] = Field("simplex", description="how the weights stay on the simplex")

    tracked: Tensor
    updates: Tensor

    def __init__(self, context: SchemeContext, parameters: "MoCo.Parameters") -> None:
        super().__init__(context, parameters)
        tasks, size = len(context.tasks), self.shared_size
        self.register_buffer("tracked", torch.zeros(tasks, size))
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self.simplex = SimplexWeights(tasks)

    def combined(self, jacobian: Tensor, gramian: Tensor, losses: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the update, and k w_t times the factor that scales each gradient before it is tracked."""
        self.updates += 1
        step, options = int(self.updates), self.options
        scales = torch.ones_like(losses)
        if options.normalised:
            norms = gramian.diagonal().sqrt().to(losses)
            scales = torch.where(norms > 0, losses / norms.clamp(min=1e-30), 0.0)
        for row, scale, task in zip(jacobian, scales, present, strict=True):
            self.tracked[task].lerp_(row * scale, options.beta / step**options.beta_sigma)
        tracked = self.tracked[present]
        products = gramian_of(tracked).numpy()
        with solving(self):
            weights = self._moved(products, self.simplex.of(present), options.gamma / step**options.gamma_sigma)
        shares = len(weights) * self.simplex.keep(weights, present)
        return shares.to(tracked) @ tracked, (shares.to(scales) * scales).double().cpu()

    def _moved(self, products: solvers.Array, weights: solvers.Array, rate: float) -> solvers.Array:
        moved = weights - rate * (products @ weights + self.options.rho * weights)
        return softmax(moved) if self.options.projection == "softmax" else solvers.onto_simplex(moved)
