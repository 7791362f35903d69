"""Validated configuration: benchmarks, methods, the grid, and the resolved configuration of one run.

Files: `params.yaml` (what to run), `config/methods.yaml` (rows of the tables), `config/benchmarks/*.yaml`.
Every mistake is reported in one sentence with file and key. Does not import torch, because planning imports this often.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from mtcp.core.data_sets import require_layout
from mtcp.core.errors import UserError, alternatives
from mtcp.core.files import read_yaml, visible
from mtcp.core.inheritance import Entry, Resolved, resolved
from mtcp.core.names import FORM, name_fault
from mtcp.core.rendered import RenderSettings
from mtcp.core.task_names import task_name_fault
from mtcp.core.tasks import METRICS, Kind, Task, in_order, make_task, misfits
from mtcp.core.validation import Model, fault, validated

Name = Annotated[str, StringConstraints(pattern=f"^{FORM}$")]


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if not 0 < limits[0] <= limits[1]:
        raise ValueError("a range is [low, high] with 0 < low <= high")
    return limits


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]


class TaskConfig(Model):
    """A benchmark's choices for one task; see `mtcp.core.tasks.make_task`."""

    kind: Kind | None = Field(
        None,
        description="of a task under a name of its own: the field's task that it is trained, judged and shown like",
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
        None, description="what untrained heads predict on average; spares a short training the way from 0 (depth: m)"
    )
    rope: float | None = Field(None, gt=0, description="practically equal within this, in the metric's unit")

    def task(self, name: str) -> Task:
        """Return the task with these settings."""
        return make_task(name, **self.model_dump(exclude={"rope"}))


def _task_list(tasks: Mapping[str, TaskConfig]) -> tuple[Task, ...]:
    return tuple(tasks[name].task(name) for name in in_order(tasks))


def _kinds(tasks: Mapping[str, TaskConfig]) -> dict[str, str]:
    return {name: tasks[name].kind or name for name in in_order(tasks)}


class EncoderConfig(Model):
    """The shared encoder: Mask2Former, or any timm `features_only` backbone with a feature pyramid."""

    kind: Literal["timm", "mask2former"]
    model: str = Field(description="timm model name, or the hub id of a Mask2Former")
    pretrained: bool = False
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

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1, description="images per forward pass (BatchNorm sees these)")
    keep_last_batch: bool = Field(False, description="train on an epoch's last batch, too, where it is smaller")
    accumulate: int = Field(
        1,
        ge=1,
        description="micro-batches per optimiser step, their gradients averaged; an epoch's last step may have fewer",
    )
    learning_rate: float = Field(5e-5, gt=0)
    backbone_multiplier: float = Field(
        1.0, gt=0, description="the learning rate of the encoder's pre-trained part, as a multiple of `learning_rate`"
    )
    weight_decay: float = Field(1e-4, ge=0)
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    schedule: Literal["poly", "cosine", "step", "constant"] = Field("poly", description="how the learning rate falls")
    schedule_per: Literal["epoch", "step"] = Field("epoch", description="how often the learning rate is set")
    decay_power: float = Field(0.9, ge=0, description="of poly")
    decay_every: int | None = Field(None, ge=1, description="of step: epochs between two falls")
    decay_factor: float = Field(0.5, gt=0, lt=1, description="of step: what the rate is multiplied by")
    warmup_epochs: int = Field(0, ge=0, description="epochs of linear warm-up before the schedule")
    clip_norm: float | None = Field(None, gt=0, description="gradient clipping before the step; null: off")
    clip: Literal["all", "all_but_heads"] = Field("all", description="the parameters whose joint norm is clipped")
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False
    compile: bool = False
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
            raise ValueError(f"`warmup_epochs` {self.warmup_epochs} leaves none of the {self.epochs} epochs")
        return self

    def spaced(self, epoch: int) -> bool:
        """Whether `epoch`, from 0, is one of the `snapshots` evenly spaced ones."""
        before, after = (count * self.snapshots // self.epochs for count in (epoch, epoch + 1))
        return after > before

    def is_snapshot(self, epoch: int) -> bool:
        """Whether `epoch` is one of the `snapshots` evenly spaced epochs or of the `last_epochs`.

        The final epoch is not: it is saved as the model anyway.
        """
        return (self.spaced(epoch) or epoch >= self.epochs - self.last_epochs) and epoch + 1 < self.epochs


class LossConfig(Model):
    """Variants of the losses; the defaults are as intended, the alternatives reproduce bugs of the released code."""

    depth_cap: float | None = Field(
        default=None, gt=0, description="depth from here on is left out of the loss (ledger 7)"
    )
    auxiliary: Literal["own", "as_released"] = Field(
        default="own",
        description="as_released: normals with the capped depth L1 (ledger 4), human parts only the last (5)",
    )
    auxiliary_weight: float = Field(default=0.5, ge=0)
    auxiliary_weighting: Literal["own_task", "unweighted"] = Field(
        default="own_task",
        description="own_task: a task's auxiliary losses are part of its loss, and the scheme weighs their sum; "
        "unweighted: they are added past the scheme, as in the released code",
    )


class AugmentationConfig(Model):
    """nyud: flip, zoom in {1, 1.2, 1.5}; pascal: flip, rotation in ±20°, scale in [.75, 1.25]; none: unchanged.

    scale_crop: a crop at a random position, enlarged by 1, 1.2 or 1.5, and flip, as in the loss-weighting literature.
    """

    policy: Literal["nyud", "pascal", "scale_crop", "none"]
    zoom_depth: Literal["divided", "multiplied"] = Field(
        "divided", description="what nyud's zoom and scale_crop do to depth: metres are divided, a disparity is "
        "multiplied by the scale (the published numbers of Cityscapes were trained with a division)"
    )  # fmt: skip


class EvaluationConfig(Model):
    """How a trained network is evaluated; enters `eval_key`, not `train_key`."""

    batch_size: int = Field(default=16, ge=1)
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


class ResourceConfig(Model):
    """The resources that one training job requests from the scheduler."""

    gpu: int = Field(
        default=0,
        ge=0,
        description="GPUs of a run, which `--device auto` takes; several have a process each",
    )
    runs_per_gpu: int = Field(default=1, ge=1, description="small runs that share one GPU of a workstation")
    processes: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="processes that train one run together without GPUs; `gpu` says it with them",
    )
    threads: int = Field(default=1, ge=1, le=1024, description="CPU threads of each process")
    mem_mb: int = Field(default=2000, ge=100, description="of all processes together")
    runtime: int = Field(default=60, ge=1, description="minutes")

    @model_validator(mode="after")
    def _processes_are_said_once(self) -> "ResourceConfig":
        if self.gpu and self.processes > 1:
            raise ValueError("`gpu` is the number of processes, too, one a GPU: take `processes` out")
        if self.gpu > 1 and self.runs_per_gpu > 1:
            raise ValueError("a run on several GPUs has them to itself: take `runs_per_gpu` out")
        return self

    @property
    def together(self) -> int:
        """The number of processes that train one run."""
        return max(self.gpu, self.processes)

    @property
    def cores(self) -> int:
        """CPU threads of a training job."""
        return self.together * self.threads


class PluginConfig(Model):
    """A plug-in by name, with its parameters as further keys: `{name: lps, kappa: 1.6}`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: Name

    @property
    def given(self) -> dict[str, Any]:
        """The given parameters, without the name."""
        return dict(self.model_extra or {})


class Budget(Model):
    """Fair tuning: the number of configurations that every method tries, and the ranges, sampled log-uniformly.

    A method's `search` adds ranges of its scheme's parameters. `mtcp.store.tuning_search` draws and chooses.
    """

    configurations: int = Field(ge=1, description="tried per method, its own configuration included")
    learning_rate: Range
    weight_decay: Range


class Benchmark(Model):
    """One file of `config/benchmarks/`: a data set, its tasks, resolution, schedule and evaluation protocol."""

    label: str = Field(min_length=1)
    data: Name | None = Field(None, description="the data set's name under data/; null: the benchmark's own")
    layout: Name = Field(
        description="how the set lies on disk: nyud, pascal, cityscapes, mtan_nyuv2, mtan_cityscapes, or NAME where "
        "data/NAME.yaml describes it"
    )
    rendered: RenderSettings | None = Field(None, description="settings of the renderer; null: an imported set")
    tasks: dict[str, TaskConfig] = Field(
        min_length=1, description="by name: one of the field's, or one of your own with its `kind`"
    )
    height: int = Field(ge=8, le=16384)
    width: int = Field(ge=8, le=16384)
    encoder: EncoderConfig
    channels: int = Field(256, ge=4, description="C, the width of the shared representation")
    upsample: Literal[1, 2, 4] = Field(2, description="up-sampling in the segmentation heads (NYUD 2, PASCAL 4)")
    augmentation: AugmentationConfig
    training: TrainingConfig
    validation_share: float = Field(
        0.0, ge=0, lt=0.5, description="share of the training split kept for model selection"
    )
    budget: Budget | None = Field(None, description="null: every method runs with its own configuration")
    scheme_parameters: dict[Name, dict[str, Any]] = Field(
        default_factory=dict, description="parameters that belong to the benchmark, as LPS's kappa, by scheme"
    )
    evaluation: EvaluationConfig = EvaluationConfig()
    resources: ResourceConfig = ResourceConfig()
    baseline: Name = Field("single_task", description="the method that Delta_m is measured against")
    reference: Name = Field("mtcp", description="the method that every other is compared with")
    delta_m_readings: dict[Name, dict[str, str]] = Field(
        default_factory=dict, description="further Delta_m by name: another metric than the primary one, by task"
    )
    delta_m_rope: float = Field(1.0, gt=0, description="practically equal within this, in per cent of Delta_m")

    @model_validator(mode="after")
    def _budget_has_images_to_choose_by(self) -> "Benchmark":
        if self.budget is not None and not self.validation_share:
            raise ValueError(
                "`budget` chooses by the loss on validation images, and `validation_share` is 0: "
                "set it, 0.1 for example, or take `budget` out"
            )
        return self

    @property
    def task_list(self) -> tuple[Task, ...]:
        """The tasks, in the order of training and tables (`mtcp.core.tasks.in_order`)."""
        return _task_list(self.tasks)

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each task by its name."""
        return _kinds(self.tasks)


class Method(Model):
    """One entry of `config/methods.yaml`: a row of the tables."""

    label: str = Field(min_length=1)
    family: Literal["reference", "method", "baseline", "scheme", "ablation", "trivial"]
    description: str = ""
    architecture: PluginConfig
    scheme: PluginConfig = PluginConfig(name="equal")
    losses: LossConfig = LossConfig()
    training: dict[str, Any] = Field(default_factory=dict, description="overrides of the benchmark's training")
    search: dict[Name, Range] = Field(
        default_factory=dict,
        description="ranges of the scheme's parameters that a benchmark's `budget` searches; "
        "a range of `weights` holds for every task's weight",
    )


def _distinct(entries: list) -> list:
    twice = [entry for place, entry in enumerate(entries) if entry in entries[:place]]
    if twice:
        raise ValueError(f"{twice[0]} stands here twice, and a run counts once: keep one")
    return entries


_Seed = Annotated[int, Field(ge=0, le=10**9, strict=True)]


class Params(Model):
    """`params.yaml`: what to run; each benchmark, method and seed may be listed once."""

    benchmarks: Annotated[list[Name], Field(min_length=1), AfterValidator(_distinct)]
    methods: Annotated[list[Name], Field(min_length=1), AfterValidator(_distinct)]
    seeds: Annotated[list[_Seed], Field(min_length=1), AfterValidator(_distinct)]
    title: str | None = Field(None, description="the study's title, at the head of every report")
    looks: int = Field(1, ge=1, description="times a verdict could be reached; `mtcp grid add-seeds` counts them")


class Grid(Model):
    """A named list of methods in `config/grids.yaml`; its name in the `methods` of params.yaml stands for the list."""

    description: str = Field(description="what it is for, shown by no table")
    methods: Annotated[list[Name], Field(min_length=1), AfterValidator(_distinct)]


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


#: Keys of a benchmark that determine a rendered data set.
_RENDERS: Final = frozenset({"rendered", "height", "width"})


class RunConfig(Model):
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
        training, count = self.training, self.processes
        if training.sync_batch_norm and count == 1:
            raise ValueError("`training.sync_batch_norm` is for several processes, and `resources` asks for one")
        if training.batch_size % count:
            raise ValueError(
                f"`training.batch_size` {training.batch_size} is the whole batch, of which {count} processes "
                "(`resources`) have equal shares: let it be a multiple"
            )
        if training.keep_last_batch and count > 1:
            raise ValueError(f"`training.keep_last_batch` leaves {count} processes (`resources`) unequal shares")
        return self

    @property
    def task_list(self) -> tuple[Task, ...]:
        """The tasks, in the order of training."""
        return _task_list(self.tasks)

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each task by its name."""
        return _kinds(self.tasks)

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


class Project:
    """The configuration of a project folder; files are read once, on first use."""

    def __init__(self, root: Path | str = ".") -> None:
        self.root = Path(root).resolve()
        self._benchmarks: dict[str, Benchmark] = {}

    @cached_property
    def params(self) -> Params:
        """What to run; a grid's name in `methods` is replaced by the grid's methods."""
        path = self.root / "params.yaml"
        given = read_yaml(path, dict)
        if isinstance(names := given.get("methods"), list):
            _require_not_in_grids(names, self.grids, path)
            members = [grid.methods if (grid := self.grids.get(str(name))) else [name] for name in names]
            given = {**given, "methods": [method for group in members for method in group]}
        return validated(Params, given, path)

    @cached_property
    def grids(self) -> dict[str, Grid]:
        path = self.root / "config/grids.yaml"
        entries = read_yaml(path, dict) if path.exists() else {}
        for name in entries:
            _check_name(name, path)
            if name in self._method_entries:
                raise fault(path, (name,), f"'{name}' is a method, too: call the grid otherwise")
        return {name: validated(Grid, entry, path, name) for name, entry in entries.items()}

    @property
    def methods_path(self) -> Path:
        return self.root / "config/methods.yaml"

    @cached_property
    def methods(self) -> dict[str, Method]:
        contents = {name: self.method_entry(name).content for name in self._method_entries}
        found = {name: validated(Method, content, self.methods_path, name) for name, content in contents.items()}
        labelled: dict[str, str] = {}
        for name, method in found.items():
            if (other := labelled.setdefault(method.label, name)) != name:
                raise fault(
                    self.methods_path, (name, "label"), f"{other} is called '{method.label}', too: tables show labels"
                )
        return found

    @cached_property
    def _method_entries(self) -> dict[str, Any]:
        entries = read_yaml(self.methods_path, dict)
        for name in entries:
            _check_name(name, self.methods_path)
        return entries

    def method_entry(self, name: str) -> Resolved:
        """A method's entry with everything that it inherits, and where each value was written.

        `search` is not inherited where the entry sets another `scheme`, and the family `reference` is inherited as
        `method`, since there is only one reference.
        """
        entries, path = self._method_entries, self.methods_path
        found = resolved(name, lambda one: Entry(_mapping(entries[one]), path, (one,)) if one in entries else None)
        own = _mapping(entries[name])
        if found.bases and found.content.get("family") == "reference" and "family" not in own:
            found.content["family"] = "method"
        if found.bases and "scheme" in own and "search" not in own:
            found.content.pop("search", None)
        return found

    def benchmark_path(self, name: str) -> Path:
        return self.root / f"config/benchmarks/{name}.yaml"

    def benchmark_names(self) -> list[str]:
        folder = self.root / "config/benchmarks"
        if not folder.is_dir():
            raise UserError(f"{folder} is missing: run the command from the project's folder")
        return [path.stem for path in visible(folder, "*.yaml")]

    def benchmark(self, name: str) -> Benchmark:
        """Return benchmark `name`; raises `UserError` listing the known ones if there is none."""
        if name in self._benchmarks:
            return self._benchmarks[name]
        path = self.benchmark_path(name)
        if name_fault(name) or not path.exists():
            known = self.benchmark_names()
            raise UserError(f"unknown benchmark '{name}' in config/benchmarks/{alternatives(name, known)}")
        benchmark = validated(Benchmark, self.benchmark_entry(name).content, path)
        _require_sound(benchmark.tasks, path)
        _require_readings(benchmark, path)
        require_layout(benchmark.layout, benchmark.task_list, self.root, path)
        self._benchmarks[name] = benchmark
        return benchmark

    def benchmark_entry(self, name: str) -> Resolved:
        """A benchmark's entry with everything that it inherits, and where each value was written.

        It uses the data set of its base, unless its changes (`rendered`, `height`, `width`) make a rendered set another
        one.
        """

        def entry_of(one: str) -> Entry | None:
            path = self.benchmark_path(one)
            return Entry(read_yaml(path, dict), path) if path.exists() else None

        found = resolved(name, entry_of)
        if not found.bases:
            return found
        own = {keys[0] for keys, entry in found.origins.items() if entry.path == self.benchmark_path(name)}
        if "data" in own:
            return found
        found.content.pop("data", None)
        if found.content.get("rendered") is None or not own & _RENDERS:
            base = found.bases[0]
            found.content["data"] = self.benchmark_entry(base).content.get("data") or base
            found.origins["data",] = Entry({}, self.benchmark_path(base))
        return found

    def data_name(self, benchmark: str) -> str:
        """Name of a benchmark's data set; benchmarks may share one, such as nyud at two image sizes."""
        return self.benchmark(benchmark).data or benchmark

    def method(self, name: str) -> Method:
        """Return method `name`; raises `UserError` listing the known ones if there is none."""
        if name not in self.methods:
            known = {**self.methods, **self.grids}
            raise UserError(f"unknown method '{name}' in config/methods.yaml{alternatives(name, known)}")
        return self.methods[name]

    def resolve(self, benchmark: str, method: str, seed: int) -> RunConfig:
        """Merge a benchmark and a method into the configuration of one run; the method takes precedence."""
        bench, chosen = self.benchmark(benchmark), self.method(method)
        defaults = bench.scheme_parameters.get(chosen.scheme.name, {})
        return validated(
            RunConfig,
            {
                **bench.model_dump(
                    include={
                        "layout", "tasks", "height", "width", "encoder", "channels", "upsample", "augmentation",
                        "validation_share", "evaluation",
                    }
                ),
                "benchmark": benchmark,
                "method": method,
                "seed": seed,
                "architecture": chosen.architecture.model_dump(),
                "scheme": {**defaults, **chosen.scheme.model_dump()},
                "losses": chosen.losses.model_dump(),
                "training": {**bench.training.model_dump(), **chosen.training},
                "processes": bench.resources.together,
            },
            self.methods_path,
            method,
        )  # fmt: skip


def _require_sound(tasks: Mapping[str, TaskConfig], path: Path) -> None:
    """Raise `UserError` for the first of a benchmark's `tasks` with an invalid name, option or label."""
    for name, options in tasks.items():
        if problem := task_name_fault(name):
            raise fault(path, ("tasks", name), problem)
        for option, problem in misfits(name, options.model_dump()):
            raise fault(path, ("tasks", name, option), problem)
    labelled: dict[str, str] = {}
    for name, options in tasks.items():
        label = options.task(name).label
        if (other := labelled.setdefault(label, name)) != name:
            raise fault(path, ("tasks", name, "label"), f"{other} is called '{label}', too: give one another `label`")


def _require_readings(benchmark: "Benchmark", path: Path) -> None:
    """Raise `UserError` for the first of `delta_m_readings` that names no task, or no metric of it."""
    for reading, metrics in benchmark.delta_m_readings.items():
        for task, metric in metrics.items():
            keys = ("delta_m_readings", reading, task)
            if task not in benchmark.kinds:
                raise fault(path, keys, f"'{task}' is not among the tasks{alternatives(task, benchmark.kinds)}")
            known = METRICS[benchmark.kinds[task]]
            if metric not in known:
                raise fault(path, keys, f"'{metric}' is not a metric of {task}{alternatives(metric, known)}")


def _require_not_in_grids(names: list[Any], grids: Mapping[str, Grid], path: Path) -> None:
    """Raise `UserError` where a method stands beside a grid that has it, or in two grids."""
    first: dict[Any, Any] = {}
    for place, name in enumerate(names):
        for method in dict.fromkeys(grids[name].methods) if isinstance(name, str) and name in grids else [name]:
            other = first.setdefault(str(method), name)
            if other != name:
                grid = other if other in grids else name
                raise fault(path, ("methods", place), f"'{method}' is in the grid '{grid}', too: name it once")


def _mapping(content: Any) -> dict[str, Any]:
    """The entry, or an empty one where it is not a mapping: validation then reports what is missing."""
    return content if isinstance(content, dict) else {}


def _check_name(name: Any, path: Path) -> None:
    if problem := name_fault(name):
        raise fault(path, (str(name),), f"{problem}, and put the wording into `label`")
