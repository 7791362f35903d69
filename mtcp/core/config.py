"""The configuration files of a project, validated: `params.yaml` (what to run), `config/benchmarks/*.yaml`,
`config/methods.yaml` (rows of the tables) and `config/grids.yaml`.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from mtcp.core.randomness import LARGEST_SEED
from mtcp.core.rendered import RenderSettings
from mtcp.core.run_config import (
    AugmentationConfig,
    EncoderConfig,
    EvaluationConfig,
    LossConfig,
    Name,
    PluginConfig,
    TaskConfig,
    TrainingConfig,
    WithTasks,
)
from mtcp.core.validation import Model


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if not 0 < limits[0] <= limits[1]:
        raise ValueError("a range is [low, high] with 0 < low <= high")
    return limits


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]


class ResourceConfig(Model):
    """The resources that the job of one run, training and evaluation, requests from the scheduler."""

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
        description="processes that train one run together without GPUs; with GPUs, `gpu` sets the number",
    )
    threads: int = Field(default=1, ge=1, le=1024, description="CPU threads of each process")
    mem_mb: int = Field(default=2000, ge=100, description="of all processes together")
    runtime: int = Field(default=60, ge=1, description="minutes for training and evaluation together")

    @model_validator(mode="after")
    def _processes_are_said_once(self) -> "ResourceConfig":
        if self.gpu and self.processes > 1:
            raise ValueError("`gpu` already sets the number of processes, one per GPU: remove `processes`")
        if self.gpu > 1 and self.runs_per_gpu > 1:
            raise ValueError("a run on several GPUs has them to itself: remove `runs_per_gpu`")
        return self

    @property
    def together(self) -> int:
        """The number of processes that train one run."""
        return max(self.gpu, self.processes)

    @property
    def cores(self) -> int:
        """CPU threads of the job."""
        return self.together * self.threads

    @property
    def evaluation(self) -> "ResourceConfig":
        """The resources of a job that only evaluates: one process, on at most one GPU."""
        return self.model_copy(update={"gpu": min(self.gpu, 1), "processes": 1})


class Budget(Model):
    """Fair tuning: the number of configurations that every method tries, and the ranges, sampled log-uniformly.

    A method's `search` adds ranges of its scheme's parameters. `mtcp.store.tuning_search` draws and chooses.
    """

    configurations: int = Field(ge=1, description="tried per method, its own configuration included")
    learning_rate: Range = Field(description="range of `training.learning_rate`")
    weight_decay: Range = Field(description="range of `training.weight_decay`")


#: Delta_m of every benchmark beside `delta_m`: no reading of a benchmark's own may take these names.
USUAL_READINGS: Final = ("per_metric", "pooled")


class Benchmark(WithTasks, Model):
    """One file of `config/benchmarks/`: a data set, its tasks, resolution, schedule and evaluation protocol."""

    label: str = Field(min_length=1, description="what reports call it")
    data: Name | None = Field(None, description="the data set's name under data/; null: the benchmark's own")
    layout: Name = Field(
        description="how the set lies on disk: nyud, pascal, cityscapes, mtan_nyuv2, mtan_cityscapes, or NAME where "
        "data/NAME.yaml describes it"
    )
    rendered: RenderSettings | None = Field(None, description="settings of the renderer; null: an imported set")
    tasks: dict[str, TaskConfig] = Field(
        min_length=1, description="by name: one of the field's, or one of your own with its `kind`"
    )
    height: int = Field(ge=8, le=16384, description="of the network's input, in pixels")
    width: int = Field(ge=8, le=16384, description="of the network's input, in pixels")
    encoder: EncoderConfig = Field(description="the encoder that tasks share")
    channels: int = Field(256, ge=4, description="C, the width of the shared representation")
    upsample: Literal[1, 2, 4] = Field(2, description="up-sampling in the segmentation heads (NYUD 2, PASCAL 4)")
    augmentation: AugmentationConfig = Field(description="how training images are varied")
    training: TrainingConfig = Field(description="optimisation and schedule")
    validation_share: float = Field(
        0.0, ge=0, lt=0.5, description="share of the training split kept for model selection"
    )
    budget: Budget | None = Field(None, description="null: every method runs with its own configuration")
    scheme_parameters: dict[Name, dict[str, Any]] = Field(
        default_factory=dict, description="parameters that belong to the benchmark, as LPS's kappa, by scheme"
    )
    evaluation: EvaluationConfig = Field(EvaluationConfig(), description="how trained networks are judged")
    resources: ResourceConfig = Field(ResourceConfig(), description="what the job of one run asks the scheduler for")
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


class Method(Model):
    """One entry of `config/methods.yaml`: a row of the tables."""

    label: str = Field(min_length=1, description="what tables and reports call it")
    family: Literal["reference", "method", "baseline", "scheme", "ablation", "trivial"] = Field(
        description="its role in tables and reports; trivial: it sees no image"
    )
    description: str = Field("", description="one sentence, for methods.csv")
    architecture: PluginConfig = Field(description="the network, of `mtcp models`, with its parameters")
    scheme: PluginConfig = Field(PluginConfig(name="equal"), description="the loss weighting, of `mtcp schemes`")
    losses: LossConfig = Field(LossConfig(), description="variants of the losses")
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


_Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED, strict=True)]


class Params(Model):
    """`params.yaml`: what to run; each benchmark, method and seed may be listed once."""

    benchmarks: Annotated[list[Name], Field(min_length=1), AfterValidator(_distinct)] = Field(
        description="of config/benchmarks/"
    )
    methods: Annotated[list[Name], Field(min_length=1), AfterValidator(_distinct)] = Field(
        description="of config/methods.yaml, or grids of config/grids.yaml"
    )
    seeds: Annotated[list[_Seed], Field(min_length=1), AfterValidator(_distinct)] = Field(
        description="every method is trained once with each"
    )
    title: str | None = Field(None, description="the study's title, at the head of every report")
    looks: int = Field(1, ge=1, description="times a verdict could be reached; `mtcp grid add-seeds` counts them")


class Grid(Model):
    """A named list of methods in `config/grids.yaml`; its name in the `methods` of params.yaml stands for the list."""

    description: str = Field(description="what it is for, shown by no table")
    methods: Annotated[list[Name], Field(min_length=1), AfterValidator(_distinct)] = Field(
        description="of config/methods.yaml"
    )
