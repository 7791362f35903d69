"""Weights learned on validation images."""

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor, nn

from mtcp.api import LossScheme, PluginParameters, SchemeContext, UserError, scheme


@scheme("auto_lambda")
class AutoLambda(LossScheme):
    """Auto-Lambda (Liu et al., TMLR 2022, equations 3 and 5): weights that minimise validation losses.

    total = sum_t (w_t / initial) l_t. Let V be the sum of the losses on a random batch of validation images after a
    step to theta. w descends V through that step: dV / dw_t is proportional to -<grad l_t, grad V>, over all
    parameters, computed by central differences (l_t(theta + e grad V) - l_t(theta - e grad V)) / 2 e with
    e = 0.01 / ||grad V||. w is learned by Adam, which is insensitive to the constant factor, the network's learning
    rate.

    Caveat: needs a validation split, and uses the same images as the choice of the best epoch. The authors' code draws
    its validation batches from the training images, and differentiates through a plain gradient step before the
    optimiser's own step, with grad l_t before it; here both gradients are taken after the step. With gradient
    accumulation only the last micro-batch counts. Costs three more forward passes and one backward pass per step;
    running statistics are restored.
    """

    cost = "forward"

    class Parameters(PluginParameters):
        initial: float = Field(0.1, gt=0, description="weights to start from; a weight of this size counts as 1")
        rate: float = Field(1e-4, gt=0, description="learning rate of the weights, by Adam")

    def __init__(self, context: SchemeContext, parameters: "AutoLambda.Parameters") -> None:
        super().__init__(context, parameters)
        if context.validation is None:
            raise UserError(
                "scheme 'auto_lambda' learns from validation images, and the benchmark keeps none: set "
                "`validation_share` in its file, or choose another scheme"
            )
        self.task_weights = nn.Parameter(torch.full((len(context.tasks),), parameters.initial))

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        return (self.task_weights.detach()[present] / self.options.initial * losses).sum()

    @torch.no_grad()
    def after_step(self, recompute: Callable[[], dict[str, Tensor]]) -> None:
        """Set the gradient of the weights, if there is one; parameters and running statistics are restored."""
        network, look = self.context.network, self.context.validation
        assert look is not None
        kept = {name: value.clone() for name, value in network.state_dict().items()}
        moved = [parameter for parameter in network.parameters() if parameter.requires_grad]
        torch.manual_seed(self.step_seed())  # the same noise (drop path) in every process
        with torch.enable_grad():
            losses = list(look(self.steps).values())
            wanted = torch.stack(losses).sum() if losses else None
        if wanted is not None:  # there is a valid pixel
            direction = torch.autograd.grad(wanted, moved, materialize_grads=True)
            self._measure(moved, direction, recompute)
        network.load_state_dict(kept)

    def _measure(
        self,
        moved: list[nn.Parameter],
        direction: tuple[Tensor, ...],
        recompute: Callable[[], dict[str, Tensor]],
    ) -> None:
        """Set the gradient of the weights by central differences along `direction`, unless that is 0."""
        length = torch.stack([piece.norm() for piece in direction]).norm()
        if not length > 0:
            return
        step = 0.01 / float(length)
        ahead = self._after_moving(moved, direction, step, recompute)
        behind = self._after_moving(moved, direction, -2 * step, recompute)
        gradient = torch.zeros_like(self.task_weights)
        self.seen &= torch.tensor([task in ahead for task in self.tasks])
        for task, loss in ahead.items():
            gradient[self.tasks.index(task)] = -(loss - behind[task]) / (2 * step)
        self.task_weights.grad = gradient

    def _after_moving(
        self,
        parameters: list[nn.Parameter],
        direction: tuple[Tensor, ...],
        step: float,
        recompute: Callable[[], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        for parameter, piece in zip(parameters, direction, strict=True):
            parameter.add_(piece, alpha=step)
        torch.manual_seed(self.step_seed())  # and for both differences
        return recompute()
