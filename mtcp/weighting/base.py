"""The interface of weighting schemes, which turn per-task losses or per-task gradients into one update.

A custom scheme is one file with one class. From losses to one scalar::

    @scheme("my_scheme")
    class MyScheme(LossScheme):
        class Parameters(PluginParameters):
            power: float = Field(2.0, gt=0, description="...")

        def total(self, losses, present):
            return losses.pow(self.options.power).sum()

From per-task gradients to one update: see `mtcp.weighting.gradients`. State belongs in parameters and buffers
(`register_buffer`), so that `state_dict` contains it and an interrupted run resumes bit-identically.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mtcp.core import plugins
from mtcp.core.errors import UserError
from mtcp.core.plugins import PluginParameters
from mtcp.core.randomness import seeded, stream
from mtcp.core.run_config import RunConfig
from mtcp.weighting.learning import OwnAdam
from mtcp.weighting.monitor import Monitor
from mtcp.weighting.shared import flat, gramian_of, jacobian_of, shared_parameters_of


class Diverged(Exception):
    """A scheme cannot go on (NaN, failed solver, losses outside its domain): a result of the run, not a crash.

    The message is one sentence naming scheme, task and step; it becomes `reason` in run.json.
    """


class NotFinite(Diverged):
    """A number is NaN or infinite in micro-batch `step`, counted from 0."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


class LossNotFinite(NotFinite):
    """A task's loss is NaN or infinite before any scheme has seen it."""


@dataclass(frozen=True)
class SchemeContext:
    """What a scheme knows about its run.

    `tasks`: names, in the order of `mtcp.core.tasks.in_order`. `seed`: of the scheme's own random stream. `size`:
    (height, width) of the network's input. `network`: the architecture, not compiled. `diagnostics_every`: how many
    micro-batches apart a loss scheme's gradient diagnostics are; 0: never. `validation(n)`: the losses, with a graph,
    of every present task on the n-th random batch of validation images; None where the run has no validation split.
    """

    tasks: tuple[str, ...]
    seed: int
    epochs: int
    steps_per_epoch: int
    size: tuple[int, int]
    network: nn.Module
    diagnostics_every: int = 0
    validation: Callable[[int], dict[str, Tensor]] | None = None


class Scheme(nn.Module, ABC):
    """A weighting scheme. Derive from `LossScheme` or `mtcp.weighting.gradients.GradientScheme`.

    The training loop calls `backward` for every micro-batch, `close_step` after every optimiser step and `close_epoch`
    at the end of an epoch. A custom scheme defines the abstract methods of its base class and, optionally, the hooks
    `after_step` and `end_epoch`, which need not call `super()`.

    A scheme's parameters (`nn.Parameter`) are learned by their own Adam at the rate `options.rate` (0.025 by default),
    without weight decay. A task without a valid pixel in a batch is missing from `losses`, and its state in the scheme
    does not change.
    """

    #: Name in the registry; set by the decorator.
    name: ClassVar[str]
    #: Cost of a step: `losses` only, per-task `gradients`, or another `forward` pass after the step.
    cost: ClassVar[Literal["losses", "gradients", "forward"]]
    #: When the weights should become unequal: never (`nothing`), `always`, or where gradients are in `conflict`.
    moved_by: ClassVar[Literal["nothing", "always", "conflict"]] = "always"
    #: Whether the scheme has negative weights by design: they are then noted, and not flagged as trouble.
    signed: ClassVar[bool] = False
    #: Number of first epochs in which the scheme's own rule does not act yet: a warm-up, or equal weights by design.
    idle_epochs: int = 0
    #: Whether every step reports the cosines between the tasks' gradients.
    observes_pairs: ClassVar[bool] = False
    #: Declared parameters; none by default.
    Parameters: ClassVar[type[PluginParameters]] = PluginParameters

    def __init__(self, context: SchemeContext, parameters: PluginParameters) -> None:
        super().__init__()
        self.context = context
        self.options: Any = parameters
        self.tasks = context.tasks
        self.steps = self.optimiser_steps = self.epochs = 0  # a step is a micro-batch
        self.monitor = Monitor(context.tasks, pairs=self.observes_pairs or context.diagnostics_every > 0)
        self._adam = OwnAdam()
        self.seen = torch.zeros(len(context.tasks), dtype=torch.bool)

    # -- what the training loop calls -----------------------------------------------------------------------------

    def backward(
        self,
        losses: dict[str, Tensor],
        auxiliary: Tensor | None,
        representation: Any,
        scale: float,
        boundary: bool = True,
    ) -> None:
        """Do the backward pass of one micro-batch: accumulate `scale` x gradient into every parameter's `.grad`.

        `losses`: the loss of every present task, scalars with a graph. `auxiliary`: the weighted sum of the losses that
        bypass the scheme (`auxiliary_weighting: unweighted`), or None. `representation`: R, as returned by
        `network.encode`. `boundary`: whether an optimiser step follows.
        Raises `Diverged` where the scheme cannot go on, `UserError` where a plug-in breaks the interface.
        """
        for task in losses:
            self.seen[self.tasks.index(task)] = True
        self._backward(losses, auxiliary, representation, scale, boundary)
        self.steps += 1

    def close_step(self, recompute: Callable[[], dict[str, Tensor]]) -> None:
        """End an optimiser step: call the hook `after_step`, then update the scheme's own parameters."""
        self.after_step(recompute)
        self._adam.step(self.named_parameters(), getattr(self.options, "rate", 0.025), self.seen)
        self.optimiser_steps += 1
        self.seen.zero_()

    def close_epoch(self) -> None:
        """End an epoch: call the hook `end_epoch`, then close the epoch's record."""
        self.end_epoch()
        self.epochs += 1
        self.monitor.end_epoch()

    # -- what a scheme defines ------------------------------------------------------------------------------------

    @abstractmethod
    def _backward(
        self, losses: dict[str, Tensor], auxiliary: Tensor | None, representation: Any, scale: float, boundary: bool
    ) -> None:
        """The part of `backward` that differs between kinds of schemes."""

    def after_step(self, recompute: Callable[[], dict[str, Tensor]]) -> None:
        """Hook after the optimiser step: `recompute()` returns new losses of the last micro-batch (a forward pass)."""

    def end_epoch(self) -> None:
        """Hook at the end of an epoch."""

    # -- what is reported -----------------------------------------------------------------------------------------

    def record(self) -> dict[str, float]:
        """Columns of history.csv for the last epoch: mean effective weight of every task, and gradient diagnostics."""
        return self.monitor.record()

    def flags(self) -> list[str]:
        """Return flags for behaviour of the weights that deserves a look.

        `stayed_equal`: the weights should have moved by now and never did; for a scheme that is `moved_by` conflict,
        only where conflict occurred. `negative_weights`, or `negative_by_design` where the scheme is `signed`.
        `runaway_weights`. `weights_far_from_optimum`: learned weights are a factor of 2 or more away from the optimum
        for the last epoch's mean losses. `never_acted`: all epochs were among the scheme's `idle_epochs`.
        """
        movable = self.moved_by != "nothing" and len(self.tasks) > 1
        due = movable and self.epochs > self.idle_epochs and (self.moved_by == "always" or self.monitor.conflict)
        far = ["weights_far_from_optimum"] if self.far_from_optimum() else []
        idle = ["never_acted"] if movable and 0 < self.epochs <= self.idle_epochs else []
        return self.monitor.signs(due, self.signed) + far + idle

    def far_from_optimum(self) -> bool:
        """Whether learned weights are far from their optimum; False where none is known."""
        return False

    def step_seed(self) -> int:
        """Seed of a micro-batch's random draws: depends only on the run's scheme stream and their number."""
        return stream(self.context.seed, self.steps)

    def update_seed(self) -> int:
        """Seed of the draws of an optimiser step, the same in all its micro-batches."""
        return stream(self.context.seed, self.optimiser_steps)

    def at(self, task: str | None = None) -> str:
        """Return "scheme 'x', [task 'y',] step n", the location given in messages."""
        return f"scheme '{self.name}', " + (f"task '{task}', " if task else "") + f"step {self.steps}"

    def finite(self, values: list[float], tasks: list[str], what: str) -> None:
        """Raise `Diverged` naming the first task whose value is NaN or infinite."""
        for task, value in zip(tasks, values, strict=True):
            if not abs(value) < float("inf"):
                raise NotFinite(f"{self.at(task)}: the {what} is {value}", self.steps)

    def positive(self, losses: Tensor, present: Tensor) -> None:
        """Raise `Diverged` where a loss is zero or negative: for schemes with a logarithm or a quotient."""
        for position, value in zip(present.tolist(), losses.tolist(), strict=True):
            if value <= 0:
                raise Diverged(
                    f"{self.at(self.tasks[position])}: the loss is {value}, and this scheme needs positive losses"
                )

    def index(self, losses: dict[str, Tensor]) -> Tensor:
        """Return the positions (k,) of the present tasks in `self.tasks`."""
        device = next(iter(losses.values())).device
        return torch.tensor([self.tasks.index(task) for task in losses], device=device)

    def get_extra_state(self) -> dict[str, Any]:
        counts = {"steps": self.steps, "optimiser_steps": self.optimiser_steps, "epochs": self.epochs}
        return {**counts, "monitor": self.monitor.state(), "adam": self._adam.state()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.steps, self.optimiser_steps, self.epochs = state["steps"], state["optimiser_steps"], state["epochs"]
        self.monitor.load(state["monitor"])
        own = next(self.parameters(), None)
        self._adam.load(state["adam"], own.device if own is not None else torch.device("cpu"))


class LossScheme(Scheme):
    """A scheme that sees only loss values and returns one scalar to minimise.

    A task's effective weight is d total / d loss, which is what acts on the shared network, whether the scheme is
    defined by weights or by a formula. It is computed once, logged, and used in one backward pass. Learnable parameters
    of the scheme receive their gradient along the way.
    """

    cost = "losses"

    @abstractmethod
    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        """Return the scalar to minimise.

        `losses` (k,): values of the present tasks; all losses of this project are positive or zero.
        `present` (k,): their positions among all tasks, for indexing a state of shape (T,).
        """

    def _backward(
        self, losses: dict[str, Tensor], auxiliary: Tensor | None, representation: Any, scale: float, boundary: bool
    ) -> None:
        if not losses:
            return
        stacked = torch.stack(list(losses.values()))
        values = stacked.detach().requires_grad_()
        self.finite(values.tolist(), list(losses), "loss")
        total = self.total(values, self.index(losses))
        self._check(total)
        (scale * total).backward()
        weights = torch.zeros_like(values) if values.grad is None else values.grad / scale
        numbers, names = weights.tolist(), list(losses)
        self.finite(numbers, names, "weight")
        self.monitor.observe(dict(zip(names, numbers, strict=True)))
        self._diagnose(losses, auxiliary, weights)
        objective = scale * (weights * stacked).sum()
        if auxiliary is not None:
            objective = objective + scale * auxiliary
        objective.backward()

    def _diagnose(self, losses: dict[str, Tensor], auxiliary: Tensor | None, weights: Tensor) -> None:
        """Every `diagnostics_every` micro-batches, record the tasks' gradients and the scheme's share of the update."""
        if auxiliary is None:
            self.monitor.observe_share(1.0, 0.0)
        every = self.context.diagnostics_every
        if not every or self.steps % every or not (shared := self.shared_for_diagnostics):
            return
        jacobian = jacobian_of(list(losses.values()), shared)
        self.monitor.observe_gradients(list(losses), gramian_of(jacobian))
        if auxiliary is not None:
            passing = flat(torch.autograd.grad(auxiliary, shared, retain_graph=True, allow_unused=True), shared)
            self.monitor.observe_share(float((weights @ jacobian).norm()), float(passing.norm()))

    @cached_property
    def shared_for_diagnostics(self) -> list[nn.Parameter]:
        """The encoder's parameters; none where the architecture shares nothing."""
        return shared_parameters_of(self.context.network, self.context.size, "encoder")

    def _check(self, total: Any) -> None:
        if not isinstance(total, Tensor) or total.ndim != 0:
            got = f"shape {tuple(total.shape)}" if isinstance(total, Tensor) else type(total).__name__
            raise UserError(f"{self.at()}: `total` must return a scalar tensor, got {got}")
        if not total.is_floating_point():
            raise UserError(f"{self.at()}: `total` must return a real number, got {total.dtype}")
        if not total.requires_grad:
            raise UserError(f"{self.at()}: `total` returned a value that does not depend on the losses")


class EpochMeans(nn.Module):
    """One mean per task over the steps of an epoch in which the task was present; part of `state_dict`."""

    sums: Tensor
    counts: Tensor

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.register_buffer("sums", torch.zeros(tasks, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(tasks, dtype=torch.float64))

    def add(self, values: Tensor, present: Tensor) -> None:
        """Add `values` (k,) of the tasks at the positions `present` (k,)."""
        self.sums[present] += values.detach().double()
        self.counts[present] += 1

    def close(self) -> Tensor:
        """Return the means (T,), NaN where a task was never present, and reset them."""
        means = self.sums / self.counts
        self.sums.zero_()
        self.counts.zero_()
        return means


def build_scheme(config: RunConfig, context: SchemeContext, root: Path | None = None) -> Scheme:
    """Return the run's scheme; raises `UserError` for a faulty plug-in, invalid parameters or a missing package.

    `root`: the project whose `plugins/` folder is read, the working directory by default. Schemes of cost `gradients`
    are refused under `training.compile`: they run one backward pass per task through the same graph, and torch's
    compiled backward pass overwrites buffers that it has read. Even with that switched off (`donated_buffer`), torch
    2.15 may load overwriting code from its disk cache, and gradients are then silently wrong.
    """
    name = config.scheme.name
    chosen = plugins.load("scheme", name, root)
    if not issubclass(chosen, Scheme):
        raise UserError(
            f"scheme '{name}' in {plugins.path_of('scheme', name, root)} must derive from LossScheme, "
            "GramianScheme or JacobianScheme"
        )
    if inspect.isabstract(chosen):
        raise UserError(
            f"scheme '{name}' in {plugins.path_of('scheme', name, root)} lacks the method "
            f"`{'`, `'.join(sorted(chosen.__abstractmethods__))}`: define it as its base class describes"
        )
    if config.training.compile and chosen.cost == "gradients":
        raise UserError(
            f"scheme '{name}' needs several backward passes a step, which `training.compile` does not allow: "
            f"give the method `training: {{compile: false}}`"
        )
    parameters = plugins.parameters("scheme", name, config.scheme.given, root)
    at_representation = getattr(parameters, "shared_parameters", None) == "representation"
    if at_representation and getattr(parameters, "accumulation", None) == "step" and config.training.accumulate > 1:
        raise UserError(
            f"scheme '{name}' cannot combine gradients at the representation once a step of "
            f"{config.training.accumulate} micro-batches, each of which has its own: set `accumulation: micro_batch`, "
            "or `shared_parameters: encoder`"
        )
    with own_faults_named(f"scheme '{name}'"), seeded(config.benchmark, config.seed, "scheme", "initialisation"):
        built = chosen(context, parameters)
    if not isinstance(getattr(built, "monitor", None), Monitor):
        raise UserError(
            f"scheme '{name}' in {plugins.path_of('scheme', name, root)}: its `__init__` does not call "
            "`super().__init__(context, parameters)`: let that be its first line"
        )
    return built


def own_faults_named(where: str) -> AbstractContextManager[None]:
    """Turn an exception raised in a user's plug-in into `UserError`, except for `Diverged`, which is a result."""
    return plugins.faults_named(where, (Diverged,))
