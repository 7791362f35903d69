"""The resolved configuration of one run: everything that determines a trained network and its metrics.

Does not import torch, because planning imports this often.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from mtcp.core.errors import UserError
from mtcp.core.names import FORM
from mtcp.core.tasks import Kind, Task, in_order, make_task
from mtcp.core.validation import Model
from mtcp.core.words import counted

Name = Annotated[str, StringConstraints(pattern=f"^{FORM}$")]


class TaskConfig(Model):
    """A benchmark's choices for one task; see `mtcp.core.tasks.make_task`."""

    kind: Kind | None = Field(
        None,
        description="for a task with its own name: the standard task whose loss, metrics and colours it takes",
    )
    label: str | None = Field(
        None,
        min_length=1,
        description="what tables, reports, cards and sheets call it; null: the usual word, or the name",
    )
    unit: str | None = Field(
        None, min_length=1, description="of its values, where it is the set's own (a regression, a disparity)"
    )
    classes: int | None = Field(None, ge=2, le=254, description="number of classes of a classification task")
    loss: str | None = Field(None, description="a loss of mtcp.training.losses other than the task's own")
    metric: str | None = Field(
        None, description="its primary metric, which enters Delta_m; null: the field's usual one"
    )
    positive_weight: float | None = Field(None, gt=0, lt=1, description="weight of positive pixels (edge, sal)")
    bias_initialisation: float | None = Field(
        None,
        description="what untrained heads predict on average; so that a short training need not learn it (depth: m)",
    )
    rope: float | None = Field(None, gt=0, description="practically equal within this, in the metric's unit")

    def task(self, name: str) -> Task:
        """Return the task with these settings."""
        return make_task(name, **self.model_dump(exclude={"rope"}))


class WithTasks:
    """What has `tasks` by name: a benchmark, or a run."""

    if TYPE_CHECKING:  # a field of the models, each in its own place
        tasks: dict[str, TaskConfig]

    @property
    def task_list(self) -> tuple[Task, ...]:
        """The tasks, in the order of training and tables (`mtcp.core.tasks.in_order`)."""
        return tuple(self.tasks[name].task(name) for name in in_order(self.tasks))

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each task by its name."""
        return {name: self.tasks[name].kind or name for name in in_order(self.tasks)}


class EncoderConfig(Model):
    """The shared encoder: Mask2Former, or any timm `features_only` backbone with a feature pyramid."""

    kind: Literal["timm", "mask2former"] = Field(description="the library that the encoder comes from")
    model: str = Field(description="timm model name, or the hub id of a Mask2Former")
    pretrained: bool = Field(False, description="start from the weights that the hub has for `model`")
    weights: str | None = Field(
        None, description="weights instead of the hub's: a local file or folder, or `package`: mtcp[weights]"
    )
    revision: str | None = Field(None, description="hub revision the weights are pinned to")
    sha256: str | None = Field(None, description="digest of the weights file, checked when they are loaded")
    args: dict[str, Any] = Field(default_factory=dict, description="further arguments of timm.create_model")

    @model_validator(mode="after")
    def _pins_pin_something(self) -> "EncoderConfig":
        hub = self.pretrained and self.kind == "mask2former" and not self.weights
        if self.revision is not None and not hub:
            raise ValueError(
                "`revision` pins a pretrained mask2former of the hub: take it out"
                + (", or write hf_hub:NAME@REVISION as `model`" if self.kind == "timm" and self.pretrained else "")
            )
        if self.sha256 is not None and not (hub or self.weights):
            raise ValueError(
                "`sha256` is checked where the file is known: name it in `weights`, or take the digest out"
            )
        return self


class TrainingConfig(Model):
    """Optimisation; the defaults are the released code's: AdamW, and lr * (1 - epoch / epochs) ** 0.9 per epoch.

    The formulas of the schedules are in `mtcp.training.optimisation`.
    """

    epochs: int = Field(ge=1, description="passes over the training images")
    batch_size: int = Field(ge=1, description="images per micro-batch, of all processes together")
    keep_last_batch: bool = Field(False, description="train on an epoch's last batch, too, where it is smaller")
    accumulate: int = Field(
        1,
        ge=1,
        description="micro-batches per optimiser step, their gradients averaged; an epoch's last step may have fewer",
    )
    learning_rate: float = Field(5e-5, gt=0, description="the peak, from which the schedule falls")
    backbone_multiplier: float = Field(
        1.0, gt=0, description="the learning rate of the encoder's pre-trained part, as a multiple of `learning_rate`"
    )
    weight_decay: float = Field(1e-4, ge=0, description="adamw: decoupled from the gradient; adam and sgd: L2")
    optimiser: Literal["adamw", "adam", "sgd"] = Field("adamw", description="torch's, with its other defaults")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    schedule: Literal["poly", "cosine", "step", "constant"] = Field("poly", description="how the learning rate falls")
    schedule_per: Literal["epoch", "step"] = Field("epoch", description="how often the learning rate is set")
    decay_power: float = Field(0.9, ge=0, description="of poly")
    decay_every: int | None = Field(None, ge=1, description="of step: epochs between two falls")
    decay_factor: float = Field(0.5, gt=0, lt=1, description="of step: what the rate is multiplied by")
    warmup_epochs: int = Field(0, ge=0, description="epochs of linear warm-up before the schedule")
    clip_norm: float | None = Field(None, gt=0, description="gradient clipping before the step; null: off")
    clip: Literal["all", "all_but_heads"] = Field("all", description="the parameters whose joint norm is clipped")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: autocast of forward passes")
    channels_last: bool = Field(
        False, description="memory layout of images and weights: the same values up to rounding, another speed"
    )
    compile: bool = Field(
        False, description="torch.compile: minutes to start; results differ by rounding, and dropout draws other noise"
    )
    sync_batch_norm: bool = Field(
        False, description="in several processes (`resources`): BatchNorm sees the images of all, not of one"
    )
    snapshots: int = Field(
        0, ge=0, description="epochs kept, evenly spaced, for the optimistic `best on test` column of the released code"
    )
    last_epochs: int = Field(
        0, ge=0, description="last epochs whose test values are averaged (selection `last_epochs_mean`), as the "
        "loss-weighting literature reports them; keeps so many networks"
    )  # fmt: skip
    checkpointing: bool = Field(
        False, description="recompute activations in the backward pass to save memory: mtcp, mask2former"
    )
    diagnostics_every: int = Field(
        50,
        ge=0,
        description="batches between two looks at the tasks' gradients on the encoder (history.csv: cosines, magnitude "
        "similarity, condition number), each one backward pass a task; gradient schemes see them in every "
        "step; 0, and under `compile`: never",
    )

    @model_validator(mode="after")
    def _schedule_is_complete(self) -> "TrainingConfig":
        if (self.schedule == "step") != (self.decay_every is not None):
            raise ValueError(
                "`schedule: step` needs `decay_every`, the epochs between two falls"
                if self.schedule == "step"
                else f"`decay_every` belongs to `schedule: step`, and the schedule is {self.schedule}: take it out"
            )
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"`warmup_epochs` {self.warmup_epochs} leaves none of the {self.epochs} epochs: lower it")
        for name, count in (("snapshots", self.snapshots), ("last_epochs", self.last_epochs)):
            if count > self.epochs:
                raise ValueError(f"`{name}` {count} is more than the {self.epochs} epochs: lower it")
        return self


class LossConfig(Model):
    """Variants of the losses: `unweighted` is the released code's form, `as_released` and `depth_cap` are its bugs."""

    depth_cap: float | None = Field(
        default=None, gt=0, description="depth from here on is left out of the loss (ledger 7)"
    )
    auxiliary: Literal["own", "as_released"] = Field(
        default="own",
        description="as_released: normals with the capped depth L1 (ledger 4), human parts only the last (5)",
    )
    auxiliary_weight: float = Field(default=0.5, ge=0, description="of each auxiliary loss, the final one having 1")
    auxiliary_weighting: Literal["own_task", "unweighted"] = Field(
        default="own_task",
        description="own_task: a task's auxiliary losses are part of its loss, and the scheme weighs their sum; "
        "unweighted: they are added past the scheme, as in the released code",
    )


class AugmentationConfig(Model):
    """How training images and their targets are varied, at random and together."""

    policy: Literal["nyud", "pascal", "scale_crop", "none"] = Field(
        description="nyud: flip, zoom in {1, 1.2, 1.5}; pascal: flip, rotation in ±20°, scale in [.75, 1.25]; "
        "scale_crop: a crop at a random position, enlarged by 1, 1.2 or 1.5, and flip, as in the loss-weighting "
        "literature; none: unchanged"
    )
    zoom_depth: Literal["divided", "multiplied"] = Field(
        "divided", description="what nyud's zoom and scale_crop do to depth: metres are divided, a disparity is "
        "multiplied by the scale (the published numbers of Cityscapes were trained with a division)"
    )  # fmt: skip


class EvaluationConfig(Model):
    """How a trained network is evaluated; enters `eval_key`, not `train_key`."""

    batch_size: int = Field(default=16, ge=1, description="images per forward pass; changes metrics by rounding alone")
    depth_cap: float = Field(
        default=6.5535, gt=0, description="the `capped` depth metrics count pixels nearer than this (m)"
    )
    edge_tolerance: float = Field(default=0.0075, gt=0, description="matching distance, share of the image diagonal")
    samples: int = Field(default=4, ge=0, description="test images whose predictions are kept as pictures")
    published_batch: int | None = Field(
        default=None, ge=1,
        description="also report errors as means over test batches of so many images (metrics `*_batches`), as the "
        "loss-weighting literature does",
    )  # fmt: skip


class PluginConfig(Model):
    """A plug-in by name, with its parameters as further keys: `{name: lps, kappa: 1.6}`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: Name = Field(description="of the plug-in; every further key is one of its parameters")

    @property
    def given(self) -> dict[str, Any]:
        """The given parameters, without the name."""
        return dict(self.model_extra or {})


#: Values that the keys leave out, by the field's dotted path: with them, a run is the same as before the field existed.
#: Every other value is hashed, including defaults.
NEUTRAL: Final[Mapping[str, Any]] = {
    "encoder.weights": None,
    "encoder.revision": None,
    "encoder.sha256": None,
    "encoder.args": {},
    "losses.depth_cap": None,
    "training.clip_norm": None,
    "training.sync_batch_norm": False,
    "tasks.*.kind": None,
    "processes": 1,
}
#: Fields of a task that name or evaluate it; they do not affect training.
_JUDGED: Final = ("name", "label", "unit", "metric", "higher_is_better")


def unequal_shares(training: TrainingConfig, processes: int) -> str | None:
    """Return why so many processes cannot train together under `training`; None if they can."""
    if training.sync_batch_norm and processes == 1:
        return "`training.sync_batch_norm` is for several processes, and `resources` asks for one"
    if training.batch_size % processes:
        return (
            f"`training.batch_size` {training.batch_size} is the whole batch, of which {processes} processes "
            "(`resources`) have equal shares: let it be a multiple"
        )
    if training.keep_last_batch and processes > 1:
        return f"`training.keep_last_batch` leaves {processes} processes (`resources`) unequal shares"
    return None


def batches_per_epoch(config: "RunConfig", split: str, images: int, where: str = "") -> int:
    """Batches in an epoch of `images` images; an incomplete last one is dropped unless `training.keep_last_batch`.

    Raises `UserError` where none is left. `where`: the place that sets the batch size (default: the benchmark's file).
    """
    size = config.training.batch_size
    batches = -(-images // size) if config.training.keep_last_batch else images // size
    if batches == 0:
        raise UserError(
            f"split '{split}' of {config.benchmark} has {counted(images, 'image')}, fewer than one batch ({size}): "
            f"lower training.batch_size in {where or f'config/benchmarks/{config.benchmark}.yaml'}"
        )
    return batches


class RunConfig(WithTasks, Model):
    """The resolved configuration of one run: benchmark x method x seed.

    The keys hash `training_part` and `evaluation_part`; labels and resources are in neither.
    """

    benchmark: Name
    method: Name
    seed: int
    layout: Name
    tasks: dict[str, TaskConfig]
    height: int
    width: int
    encoder: EncoderConfig
    channels: int
    upsample: int
    architecture: PluginConfig
    scheme: PluginConfig
    losses: LossConfig
    training: TrainingConfig
    augmentation: AugmentationConfig
    validation_share: float
    evaluation: EvaluationConfig
    processes: int = Field(1, ge=1, description="that train the run together; BatchNorm sees the images of one")

    @model_validator(mode="after")
    def _processes_have_equal_shares(self) -> "RunConfig":
        if problem := unequal_shares(self.training, self.processes):
            raise ValueError(problem)
        return self

    def training_part(self) -> dict[str, Any]:
        """The part that determines the trained network: every field with its value, except `NEUTRAL` values."""
        part = self.model_dump(mode="json", exclude={"method", "evaluation", "tasks"})
        part["tasks"] = {task.name: _without_neutral(_trained(task), "tasks.*.") for task in self.task_list}
        return _without_neutral(part)

    def evaluation_part(self) -> dict[str, Any]:
        """The part that determines the metrics of a trained network."""
        part = self.evaluation.model_dump(mode="json", exclude={"batch_size"})
        return part | {"primary": {task.name: task.metric for task in self.task_list}}


def _trained(task: Task) -> dict[str, Any]:
    """The fields that determine the training of a task; `kind` is None where it equals the task's name."""
    part = {key: value for key, value in asdict(task).items() if key not in _JUDGED}
    return part | {"kind": None if task.kind == task.name else task.kind}


def _without_neutral(part: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    kept = {}
    for key, value in part.items():
        path = f"{prefix}{key}"
        if path in NEUTRAL and NEUTRAL[path] == value:
            continue
        kept[key] = _without_neutral(value, f"{path}.") if isinstance(value, Mapping) else value
    return kept
