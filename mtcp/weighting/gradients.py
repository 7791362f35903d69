"""Schemes that see every task's gradient of the shared parameters and combine them into one update.

With J the (k, P) matrix whose rows are the gradients of the k present tasks with respect to the P entries of the
*shared parameters*, a scheme returns their update; every other parameter keeps the gradient of the plain sum. Which
parameters count as shared:

- `encoder`: the parameters upstream of the shared representation R, as in the literature;
- `all_shared`: every parameter that reaches the losses of two or more tasks, wherever it lies;
- `all_but_heads`: every parameter outside a module called head, what belongs to one task included, whose gradient is
  zero for the others: the code of Nash-MTL, FAMO and FairGrad. It leaves inner products between tasks as they are and
  lengthens each gradient, which moves projections and norms;
- `representation`: R itself, all its tensors where it is several; the coefficients are computed there and carried
  into one backward pass through the encoder. Cheaper, and open to schemes that return coefficients (`GramianScheme`)
  only.

A scheme of one's own::

    @scheme("my_scheme")
    class MyScheme(GramianScheme):
        def weights(self, gramian, losses, present):
            return 1 / gramian.diagonal().sqrt()
"""

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import combinations
from typing import Any, Final, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mtcp.core.errors import UserError
from mtcp.core.plugins import PluginParameters
from mtcp.weighting.base import Diverged, Scheme, SchemeContext
from mtcp.weighting.monitor import Monitor

#: A parameter of a task's head, by its name: heads.depth.0.weight, branches.depth.aux_head1.1.bias.
_HEAD: Final = re.compile(r"(^|[._])heads?\d*\.")


def reached(output: Tensor) -> set[Tensor]:
    """Return the leaves (parameters) in the graph of `output`."""
    leaves: set[Tensor] = set()
    seen, stack = set(), [output.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.add(node.variable)
        stack.extend(child for child, _ in node.next_functions)
    return leaves


def reachability(network: nn.Module, size: tuple[int, int]) -> dict[str, set[Tensor]]:
    """Return, for every task, the parameters its final output depends on.

    One eager forward pass of a blank image in evaluation mode, so that running statistics stay as they are; it must
    come before compilation, under which every parameter seems to reach every output.
    """
    device = next(network.parameters()).device
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.enable_grad():
            outputs = network(torch.zeros(1, 3, *size, device=device))
    finally:
        for module, training in modes.items():
            module.training = training
    return {task: reached(output["final"]) for task, output in outputs.items()}


def head_parameters(network: nn.Module) -> set[nn.Parameter]:
    """Return the parameters of the tasks' heads: those whose name has a part `head` or `heads`."""
    return {parameter for name, parameter in network.named_parameters() if _HEAD.search(name)}


def shared_parameters_of(
    context: SchemeContext, which: Literal["encoder", "all_shared", "all_but_heads"]
) -> list[nn.Parameter]:
    """Return the trainable shared parameters that reach a final output, in the network's order."""
    network = context.network
    reach = list(reachability(network, context.size).values())
    wanted = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if which == "encoder":
        encoder = set(network.encoder.parameters()) if network.encoder is not None else set()
        return [p for p in wanted if p in encoder and any(p in leaves for leaves in reach)]
    if which == "all_but_heads":
        heads = head_parameters(network)
        return [p for p in wanted if p not in heads and any(p in leaves for leaves in reach)]
    return [p for p in wanted if sum(p in leaves for leaves in reach) >= 2]


def cosines(gramian: Tensor) -> Tensor:
    """Return the (k, k) cosines between gradients from their Gramian; 0 where a gradient is zero."""
    norms = gramian.diagonal().sqrt()
    return torch.where(gramian == 0, 0.0, gramian / torch.outer(norms, norms).clamp(min=1e-300))


@contextmanager
def solving(scheme: Scheme) -> Iterator[None]:
    """Turn a solver's failure inside the block into `Diverged`: it ends the run with a status, never in silence."""
    try:
        yield
    except (ValueError, ArithmeticError, RuntimeError, np.linalg.LinAlgError) as error:
        raise Diverged(f"{scheme.at()}: the solver failed: {error}") from error


class GradientScheme(Scheme):
    """A scheme that turns the tasks' gradients into one update of the shared parameters.

    Cost: one forward pass, one backward pass a task through to the shared parameters, one for the other parameters.
    Memory beyond a plain step: J, k times the shared parameters. Gradients are taken one task at a time, so that only
    one backward pass's buffers live at once. With accumulation every micro-batch is combined by itself.

    The scale is that of the plain sum: where a paper's coefficients sum to 1 they are multiplied by k.
    """

    cost = "gradients"
    moved_by = "conflict"

    class Parameters(PluginParameters):
        shared_parameters: Literal["encoder", "all_shared", "all_but_heads"] = Field(
            "encoder", description="the parameters whose gradients are combined"
        )

    def __init__(self, context: SchemeContext, parameters: PluginParameters) -> None:
        super().__init__(context, parameters)
        self.monitor = Monitor(context.tasks, pairs=True)
        self.shared = self._shared(parameters.shared_parameters)

    @abstractmethod
    def combined(self, jacobian: Tensor, gramian: Tensor, losses: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the update (P,) and its effective coefficients (k,) from J (k, P) and J J^T (k, k).

        `gramian` is float64 on the CPU. `losses` (k,): values of the present tasks. `present` (k,): their positions
        among all tasks.
        """

    def other_weights(self, losses: Tensor, present: Tensor) -> Tensor:
        """Return the weights (k,) of the losses for the parameters that are not shared; asked for after `combined`."""
        return torch.ones_like(losses)

    def backward(self, losses: dict[str, Tensor], auxiliary: Tensor | None, representation: Any, scale: float) -> None:
        if losses:
            self._backward(losses, auxiliary, representation, scale)
        elif auxiliary is not None:
            (scale * auxiliary).backward()
        self.steps += 1

    def _backward(self, losses: dict[str, Tensor], auxiliary: Tensor | None, representation: Any, scale: float) -> None:
        shared: list[Tensor] = self.shared or self._tensors(representation)
        stacked = torch.stack(list(losses.values()))
        values, present = stacked.detach(), self.index(losses)
        self.finite(values.tolist(), list(losses), "loss")
        jacobian = _jacobian(list(losses.values()), shared)
        update = self._update(jacobian, values, present, list(losses))

        # The other parameters; with auxiliary losses the shared ones as well, less what the final losses give it.
        weights = self.other_weights(values, present)
        objective = (weights * stacked).sum()
        held = {id(tensor) for tensor in shared} | {id(parameter) for parameter in self._upstream}
        others = [p for p in self.context.network.parameters() if p.requires_grad and id(p) not in held]
        if auxiliary is not None:
            objective = objective + auxiliary
        wanted = others + (shared if auxiliary is not None else [])
        gradients = torch.autograd.grad(objective, wanted, allow_unused=True) if wanted else ()
        _accumulate(others, gradients[: len(others)], scale)
        if auxiliary is not None:
            update = update + _flat(gradients[len(others) :], shared) - weights @ jacobian

        sizes = [tensor.numel() for tensor in shared]
        pieces = [piece.view_as(t).to(t.dtype) for piece, t in zip(update.split(sizes), shared, strict=True)]
        if self.shared:
            _accumulate(self.shared, pieces, scale)
        else:
            torch.autograd.backward(shared, [scale * piece for piece in pieces], inputs=self._upstream)

    def _tensors(self, representation: Any) -> list[Tensor]:
        """Return the tensors of a representation; where it is a list, none is computed from another."""
        tensors = [representation] if isinstance(representation, Tensor) else representation
        if not isinstance(tensors, list) or not all(isinstance(tensor, Tensor) for tensor in tensors):
            raise UserError(
                f"{self.at()}: `encode` of this architecture must return a tensor or a list of tensors for "
                f"`shared_parameters: representation`, got {type(representation).__name__}: choose `encoder`"
            )
        return tensors

    def _update(self, jacobian: Tensor, losses: Tensor, present: Tensor, tasks: list[str]) -> Tensor:
        gramian = gramian_of(jacobian)
        self.finite(gramian.diagonal().tolist(), tasks, "squared norm of the gradient")
        update, coefficients = self.combined(jacobian, gramian, losses, present)
        numbers = coefficients.tolist()
        self.finite(numbers, tasks, "coefficient")
        angles = cosines(gramian)
        self.monitor.observe(
            dict(zip(tasks, numbers, strict=True)),
            {(tasks[i], tasks[j]): float(angles[i, j]) for i, j in combinations(range(len(tasks)), 2)},
        )
        return update

    def expect(self, value: Any, shape: Iterable[int], method: str) -> None:
        """Raise `UserError` where a plug-in's method did not return a tensor of `shape`."""
        if not isinstance(value, Tensor) or value.shape != torch.Size(shape):
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise UserError(f"{self.at()}: `{method}` must return a tensor of shape {tuple(shape)}, got {got}")

    def _shared(self, which: str) -> list[nn.Parameter]:
        """Return the shared parameters, none for the representation; keep what lies upstream of the latter."""
        shared = shared_parameters_of(self.context, "encoder" if which == "representation" else which)
        if not shared:
            raise UserError(
                f"scheme '{self.name}' combines the gradients of shared parameters, and '{which}' has none in this "
                "architecture: choose another architecture, or a scheme of cost `losses`"
            )
        self._upstream: list[nn.Parameter] = shared if which == "representation" else []
        return [] if which == "representation" else shared


class JacobianScheme(GradientScheme):
    """A scheme that needs the gradients themselves and returns the update."""

    @abstractmethod
    def combine(self, jacobian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        """Return the update (P,) from the gradients J (k, P); `losses` and `present` as in `combined`."""

    def combined(self, jacobian: Tensor, gramian: Tensor, losses: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the update and the coefficients of the combination of gradients that comes nearest to it."""
        update = self.combine(jacobian, losses, present)
        self.expect(update, jacobian.shape[1:], "combine")
        if not torch.isfinite(update).all():
            raise Diverged(f"{self.at()}: the combined gradient is not finite")
        return update, torch.linalg.pinv(gramian, hermitian=True) @ (jacobian @ update).double().cpu()


class GramianScheme(GradientScheme):
    """A scheme that needs only the Gramian G = J J^T and returns one coefficient a task: update = sum_t c_t g_t."""

    class Parameters(PluginParameters):
        shared_parameters: Literal["encoder", "all_shared", "all_but_heads", "representation"] = Field(
            "encoder", description="where gradients are compared and combined"
        )

    @abstractmethod
    def weights(self, gramian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        """Return the coefficients (k,) from the Gramian (k, k); arguments as in `combined`."""

    def combined(self, jacobian: Tensor, gramian: Tensor, losses: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return sum_t c_t g_t and c."""
        coefficients = self.weights(gramian, losses, present)
        self.expect(coefficients, gramian.shape[:1], "weights")
        return coefficients.to(jacobian) @ jacobian, coefficients


def gramian_of(jacobian: Tensor) -> Tensor:
    """Return J J^T (k, k) of J (k, P), summed in float64, on the CPU."""
    total = torch.zeros(len(jacobian), len(jacobian), dtype=torch.float64, device=jacobian.device)
    for piece in jacobian.split(2**20, dim=1):
        exact = piece.double()
        total += exact @ exact.T
    return total.cpu()


def _jacobian(losses: list[Tensor], shared: list[Tensor]) -> Tensor:
    """Return the (k, P) gradients of `losses` with respect to `shared_parameters`, one backward pass after another."""
    rows = torch.empty(len(losses), sum(tensor.numel() for tensor in shared), device=shared[0].device)
    for row, loss in zip(rows, losses, strict=True):
        row.copy_(_flat(torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True), shared))
    return rows


def _flat(gradients: Iterable[Tensor | None], tensors: list[Tensor]) -> Tensor:
    pairs = zip(gradients, tensors, strict=True)
    return torch.cat([torch.zeros_like(t).flatten() if g is None else g.flatten() for g, t in pairs]).float()


def _accumulate(parameters: list[nn.Parameter], gradients: Iterable[Tensor | None], scale: float) -> None:
    """Add `scale` x gradient to each parameter's `.grad`, which stays as it is where the gradient is None.

    A new `.grad` takes the parameter's strides, as autograd's own does: fused optimisers read both as flat memory.
    """
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            continue
        if parameter.grad is None:
            parameter.grad = torch.mul(gradient, scale, out=torch.empty_like(parameter))
        else:
            parameter.grad.add_(gradient, alpha=scale)
