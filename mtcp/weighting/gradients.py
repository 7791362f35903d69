"""Schemes that combine the tasks' gradients with respect to the shared parameters into one update.

Let J be the (k, P) matrix whose rows are the gradients of the k present tasks with respect to the P entries of the
*shared parameters*. A scheme returns the update of these; every other parameter keeps the gradient of the plain sum.
Which parameters count as shared:

- `encoder`: the parameters upstream of the shared representation R, as in the literature;
- `all_shared`: every parameter that affects the losses of two or more tasks, wherever it is;
- `all_but_heads`: every parameter outside a module called head, as in the code of Nash-MTL, FAMO and FairGrad. This
  includes parameters of a single task, whose gradient is zero for the other tasks: inner products between tasks stay
  the same, but each gradient is longer, which changes projections and norms;
- `representation`: R itself, with all its tensors where it is a list; the coefficients are computed there and used in
  one backward pass through the encoder. This is cheaper, but only for schemes that return coefficients
  (`GramianScheme`).

With gradient accumulation, the rows of J are means over a step's micro-batches, and gradients are combined once per
step.

A custom scheme::

    @scheme("my_scheme")
    class MyScheme(GramianScheme):
        def weights(self, gramian, losses, present):
            return 1 / gramian.diagonal().sqrt()
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mtcp.core.errors import UserError
from mtcp.core.plugins import PluginParameters
from mtcp.weighting.base import Diverged, NotFinite, Scheme, SchemeContext
from mtcp.weighting.diagnostics import cosines
from mtcp.weighting.shared import (
    accumulate,
    flat,
    gramian_of,
    jacobian_of,
    pieces_of,
    products_of,
    shared_parameters_of,
)


@contextmanager
def solving(scheme: Scheme) -> Iterator[None]:
    """Turn a solver's failure inside the block into `Diverged`, which ends the run with that status."""
    try:
        yield
    except (ValueError, ArithmeticError, RuntimeError, np.linalg.LinAlgError) as error:
        raise Diverged(f"{scheme.at()}: the solver failed: {error}") from error


@dataclass
class _Pool:
    """The gradients (T, P) and losses (T,) of the current step, summed over its micro-batches."""

    jacobian: Tensor
    losses: Tensor
    counts: Tensor
    batches: int = 0

    @classmethod
    def of(cls, tasks: int, like: Tensor) -> "_Pool":
        losses = torch.zeros(tasks, device=like.device)
        return cls(like.new_zeros(tasks, like.shape[1]), losses, torch.zeros_like(losses))

    def add(self, jacobian: Tensor, losses: Tensor, present: Tensor) -> None:
        self.jacobian[present] += jacobian
        self.losses[present] += losses
        self.counts[present] += 1


class _Accumulation(PluginParameters):
    accumulation: Literal["step", "micro_batch"] = Field(
        "step", description="gradients are combined once a step, or in every micro-batch by itself"
    )


class GradientScheme(Scheme):
    """A scheme that turns the tasks' gradients into one update of the shared parameters.

    Cost: one forward pass, one backward pass per task down to the shared parameters, and one for the other parameters.
    Memory beyond a plain step: J, k times the shared parameters; twice that with accumulation.

    Updates are on the scale of the plain sum: where a paper's coefficients sum to 1, they are multiplied by k.
    """

    cost = "gradients"
    moved_by = "conflict"
    observes_pairs = True

    class Parameters(_Accumulation):
        shared_parameters: Literal["encoder", "all_shared", "all_but_heads"] = Field(
            "encoder", description="the parameters whose gradients are combined"
        )

    def __init__(self, context: SchemeContext, parameters: PluginParameters) -> None:
        super().__init__(context, parameters)
        self.shared = self._shared(self.options.shared_parameters)
        # At the representation, coefficients are needed while the graph of the micro-batch still exists: `build_scheme`
        # refuses one combination a step there.
        self.pooled = bool(self.shared) and getattr(parameters, "accumulation", "step") == "step"
        self._pool: _Pool | None = None
        #: The gradient that has bypassed the scheme since its last update.
        self._bypassing: Tensor | None = None

    @property
    def shared_size(self) -> int:
        """P, the number of entries of the shared parameters."""
        return sum(parameter.numel() for parameter in self.shared)

    @abstractmethod
    def combined(self, jacobian: Tensor, gramian: Tensor, losses: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return the update (P,) and its effective coefficients (k,) from J (k, P) and J J^T (k, k).

        `gramian` is float64 on the CPU. `losses` (k,): values of the present tasks, means over the step's
        micro-batches. `present` (k,): their positions among all tasks.
        """

    def other_weights(self, losses: Tensor, present: Tensor) -> Tensor:
        """Return the weights (k,) of the losses for the parameters that are not shared.

        Called in every micro-batch; in the last one of a step, after `combined`.
        """
        return torch.ones_like(losses)

    def _backward(
        self, losses: dict[str, Tensor], auxiliary: Tensor | None, representation: Any, scale: float, boundary: bool
    ) -> None:
        if not losses:
            if boundary and self._pool is not None:
                self._give(self._close_pool(), None, scale, self.shared)
            return
        stacked, present = torch.stack(list(losses.values())), self.index(losses)
        values = stacked.detach()
        self.finite(values.tolist(), list(losses), "loss")
        tensors: list[Any] = [*self.shared] or self._tensors(representation)
        jacobian = jacobian_of(list(losses.values()), tensors)
        update = self._pooled_update(jacobian, values, present, boundary)

        # Gradients of the other parameters; with auxiliary losses also of the shared ones, from which the part due to
        # the final losses is subtracted below.
        weights = self.other_weights(values, present)
        objective = (weights * stacked).sum()
        held = {id(tensor) for tensor in tensors} | {id(parameter) for parameter in self._upstream}
        others = [p for p in self.context.network.parameters() if p.requires_grad and id(p) not in held]
        wanted = others + (tensors if auxiliary is not None else [])
        if auxiliary is not None:
            objective = objective + auxiliary
        gradients = torch.autograd.grad(objective, wanted, allow_unused=True) if wanted else ()
        accumulate(others, gradients[: len(others)], scale)
        outside = None
        if auxiliary is not None:
            outside = flat(gradients[len(others) :], tensors) - weights @ jacobian
            self._bypassing = outside if self._bypassing is None else self._bypassing + outside
        self._give(update, outside, scale, tensors)

    def _pooled_update(self, jacobian: Tensor, values: Tensor, present: Tensor, boundary: bool) -> Tensor | None:
        """Return the update times the number of micro-batches that it covers; None where none is due yet."""
        if not self.pooled or (boundary and self._pool is None):
            return self._update(jacobian, values, present, [self.tasks[i] for i in present.tolist()])
        if self._pool is None:
            self._pool = _Pool.of(len(self.tasks), jacobian)
        self._pool.add(jacobian, values, present)
        self._pool.batches += 1
        return self._close_pool() if boundary else None

    def _close_pool(self) -> Tensor:
        pool, self._pool = self._pool, None
        assert pool is not None
        present = pool.counts.nonzero()[:, 0]
        jacobian, losses = pool.jacobian[present] / pool.batches, pool.losses[present] / pool.counts[present]
        return pool.batches * self._update(jacobian, losses, present, [self.tasks[i] for i in present.tolist()])

    def _give(self, update: Tensor | None, outside: Tensor | None, scale: float, tensors: Sequence[Any]) -> None:
        """Add the scheme's update and the gradient that bypasses it to the shared parameters' gradients."""
        if update is not None:
            passing = torch.zeros(()) if self._bypassing is None else self._bypassing
            self.monitor.observe_share(float(update.norm()), float(passing.norm()))
            self._bypassing = None
        parts = [part for part in (update, outside) if part is not None]
        if not parts:
            return
        pieces = pieces_of(sum(parts[1:], parts[0]), tensors)
        if self.shared:
            accumulate(self.shared, pieces, scale)
        else:
            torch.autograd.backward(tensors, [scale * piece for piece in pieces], inputs=self._upstream)

    def _update(self, jacobian: Tensor, losses: Tensor, present: Tensor, tasks: list[str]) -> Tensor:
        gramian = gramian_of(jacobian)
        self.finite(gramian.diagonal().tolist(), tasks, "squared norm of the gradient")
        update, coefficients = self.combined(jacobian, gramian, losses, present)
        numbers = coefficients.tolist()
        self.finite(numbers, tasks, "coefficient")
        self.monitor.observe(dict(zip(tasks, numbers, strict=True)))
        self.monitor.observe_gradients(tasks, gramian)
        return update

    def expect(self, value: Any, shape: Iterable[int], method: str) -> None:
        """Raise `UserError` where a plug-in's method did not return a tensor of `shape`."""
        if not isinstance(value, Tensor) or value.shape != torch.Size(shape):
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise UserError(f"{self.at()}: `{method}` must return a tensor of shape {tuple(shape)}, got {got}")

    def _tensors(self, representation: Any) -> list[Tensor]:
        """Return the tensors of a representation; raises `UserError` where it is not a tensor or a list of tensors."""
        tensors = [representation] if isinstance(representation, Tensor) else representation
        if not isinstance(tensors, list) or not all(isinstance(tensor, Tensor) for tensor in tensors):
            raise UserError(
                f"{self.at()}: `encode` of this architecture must return a tensor or a list of tensors for "
                f"`shared_parameters: representation`, got {type(representation).__name__}: choose `encoder`"
            )
        return tensors

    def _shared(self, which: str) -> list[nn.Parameter]:
        """Return the shared parameters; none for `representation`, whose encoder parameters go to `_upstream`."""
        part = "encoder" if which == "representation" else which
        shared = shared_parameters_of(self.context.network, self.context.size, part)
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
        """Return the update, and the coefficients of the combination of gradients that is nearest to it.

        Where gradients are dependent to float32's resolution, several combinations are: the one nearest to the plain
        sum, as others would be multiples of rounding. A gradient of length 0 has the coefficient 0.
        """
        update = self.combine(jacobian, losses, present)
        self.expect(update, jacobian.shape[1:], "combine")
        if not torch.isfinite(update).all():
            raise NotFinite(f"{self.at()}: the combined gradient is not finite", self.steps)
        lengths = gramian.diagonal().sqrt()
        along = products_of(jacobian, (update - jacobian.sum(0))[None])[:, 0] / lengths.clamp(min=1e-300)
        resolved = len(lengths) * torch.finfo(torch.float32).eps
        change = torch.linalg.pinv(cosines(gramian), rtol=resolved, hermitian=True) @ along
        return update, torch.where(lengths > 0, 1 + change / lengths, 0.0)


class GramianScheme(GradientScheme):
    """A scheme that needs only the Gramian G = J J^T and returns one coefficient per task: update = sum_t c_t g_t."""

    # Adds `representation`, which schemes that combine whole gradients do not offer.
    class Parameters(_Accumulation):  # pyright: ignore[reportIncompatibleVariableOverride]
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
