"""Multi-objective gradients with double sampling."""

from pydantic import Field
from torch import Tensor

from mtcp.api import GradientScheme, PreviousGradients, SchemeContext, SimplexWeights, scheme, solvers, solving


@scheme("modo")
class MoDo(GradientScheme):
    """Multi-objective gradient with double sampling (Chen et al., NeurIPS 2023 and JMLR 2024, equation 2.9).

    Each step moves the weights one step towards the shortest vector in the gradients' convex hull: w <- projection of
    w - gamma (D w + rho w) onto the simplex, from 1/T, with D_ij = <g_i, g'_j> and g' the gradients of another batch,
    so that the noise of one batch does not enter twice. update = k sum_t w_t g_t.

    Caveat: the paper draws two batches per step at the same parameters. Here the other batch is that of the previous
    step, at that step's parameters, so that a step costs as much, and sees as many images, as with other schemes. The
    previous gradients need T times the shared parameters in memory and in the state. `gamma` has the unit of one over a
    squared gradient.
    """

    moved_by = "always"

    class Parameters(GradientScheme.Parameters):
        gamma: float = Field(0.1, gt=0, description="step of the weights")
        rho: float = Field(0.1, ge=0, description="pull to equal weights")

    def __init__(self, context: SchemeContext, parameters: "MoDo.Parameters") -> None:
        super().__init__(context, parameters)
        self.previous = PreviousGradients(len(context.tasks), self.shared_size)
        self.simplex = SimplexWeights(len(context.tasks))

    def combined(self, jacobian: Tensor, gramian: Tensor, losses: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return k sum_t w_t g_t and k w."""
        products = self.previous.products(jacobian, present).numpy()
        weights = self.simplex.of(present)
        moved = weights - self.options.gamma * (products @ weights + self.options.rho * weights)
        with solving(self):
            moved = solvers.onto_simplex(moved)
        shares = len(present) * self.simplex.keep(moved, present)
        return shares.to(jacobian) @ jacobian, shares
