"""The typed records of the run store, which only this module reads and writes. Does not import torch.

Every record is sealed JSON (`mtcp.core.files`) with a schema version.
"""

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

from pydantic import Field

from mtcp.core.errors import UserError
from mtcp.core.files import read_record, write_record
from mtcp.core.measures import Metrics
from mtcp.core.project_files import RECORD, metrics_file
from mtcp.core.run_config import RunConfig
from mtcp.core.validation import Model, validated
from mtcp.store.environment import Environment, GitState

SCHEMA_VERSION: Final = 1
Status = Literal["finished", "diverged"]


class Record(Model):
    """A sealed JSON file of the run store."""

    schema_version: Literal[1] = SCHEMA_VERSION

    def write(self, path: Path) -> None:
        """Write the record to `path` atomically."""
        write_record(path, self.model_dump(mode="json"))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the record at `path`; an unchanged file is read only once per process.

        Raises `UserError` where the file is missing, damaged, edited, or of another schema version.
        """
        try:
            stat = path.stat()
        except FileNotFoundError as error:
            raise UserError(f"{path} is missing") from error
        return cast(Self, _parsed(cls, path, (stat.st_ino, stat.st_mtime_ns, stat.st_size)))


@lru_cache(maxsize=4096)
def _parsed(kind: type[Record], path: Path, _file: tuple[int, int, int]) -> Record:
    content = read_record(path)
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema version {version}, and this version of mtcp reads {SCHEMA_VERSION}: use the version "
            f"that wrote it, or remove the file and run the pipeline again"
        )
    return validated(kind, content, str(path))


class Determinism(Model):
    """torch's settings that affect reproducibility; `tf32`: a GPU may use it for products or convolutions."""

    deterministic_algorithms: bool
    cudnn_deterministic: bool
    cudnn_benchmark: bool
    tf32: bool
    threads: int


class DataRecord(Model):
    """The data set that a run was trained on."""

    digest: str
    note: str = ""
    #: Class names by task, from class 0, for the tasks whose class names are known.
    classes: dict[str, list[str]] = Field(default_factory=dict)


class RunRecord(Record):
    """`run.json`: what was trained, from what, on which machine, and how it ended.

    The hash of `key_parts` is `train_key`. `config` is the resolved configuration at that time (`run_config`).
    `files`: {name in the run's folder: SHA-256}. `seconds` is wall time over all attempts; `cpu_seconds` is CPU time of
    the last attempt; `gpu_seconds` is the time for which GPUs were held, added up over GPUs. Memory is in MiB. `load`:
    the machine's load average at the end; above the number of cores, the times were affected by other processes.
    """

    benchmark: str
    method: str
    seed: int
    train_key: str
    key_parts: dict[str, Any]
    config: dict[str, Any]
    status: Status
    reason: str
    flags: tuple[str, ...]
    epochs: int
    parameters: int
    seconds: float
    cpu_seconds: float
    gpu_seconds: float
    seconds_per_step: float
    images_per_second: float
    peak_memory_mb: float
    load: float | None = None
    device: str
    determinism: Determinism
    environment: Environment
    data: DataRecord
    weights: dict[str, str] | None
    git: GitState | None
    started: str
    finished: str
    files: dict[str, str]

    def run_config(self) -> RunConfig:
        """The configuration, validated by this version of mtcp; raises `UserError` where it is no longer valid."""
        return validated(RunConfig, self.config, f"the record of {self.benchmark}/{self.method}/seed{self.seed}")


class MetricsRecord(Record):
    """`metrics-<eval_key>.json`: the metrics of one run by selection, output and task; empty for a diverged run.

    `seconds`: wall time of the evaluation. `gflops`: per image. `non_finite`: pixels with a non-finite final
    prediction, by task. `files`: {name: SHA-256}.
    """

    benchmark: str
    method: str
    seed: int
    train_key: str
    eval_key: str
    images: int = 0
    seconds: float | None = None
    seconds_per_image: float | None = None
    load: float | None = None
    gflops: float | None = None
    non_finite: dict[str, int] = Field(default_factory=dict)
    metrics: dict[str, Metrics] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)


class SpeedRound(Model):
    """One measurement in a fresh process: median seconds per training step and per predicted image.

    Peak memory of both in MiB. `others`: cores that other processes kept busy (`mtcp.core.load`); None where unknown.
    """

    seconds_per_step: float
    seconds_per_image: float
    step_memory_mb: float
    image_memory_mb: float
    others: float | None


class SpeedRecord(Record):
    """`results/runs/<benchmark>/<method>/speed.json`: what `mtcp benchmark` measured, round by round.

    `train_key`: of the method's run at the grid's first seed, whose configuration and code were measured. `images`:
    batch sizes of a training step and of a prediction.
    """

    benchmark: str
    method: str
    train_key: str
    device: str
    threads: int
    images: tuple[int, int]
    rounds: tuple[SpeedRound, ...]
    environment: Environment
    measured: str


class TrialRecord(Model):
    """One tried configuration: its changes, its validation losses (None: diverged) and its cost."""

    train_key: str
    training: dict[str, float]
    scheme: dict[str, Any]
    validation: dict[str, float] | None
    status: Status
    reason: str
    cpu_seconds: float
    gpu_seconds: float


class ChoiceRecord(Record):
    """`choice-<key>.json`: all trials of a method under a budget, and the index of the best one."""

    benchmark: str
    method: str
    chosen: int
    reason: str
    trials: tuple[TrialRecord, ...]


def readable_records(method_folder: Path) -> Iterator[tuple[Path, RunRecord]]:
    """Yield folder and record of every run of one method, under any key; skips unreadable records."""
    for path in sorted(method_folder.glob(f"*/{RECORD}")):
        with contextlib.suppress(UserError):
            yield path.parent, RunRecord.read(path)


def readable_metrics(method_folder: Path) -> Iterator[MetricsRecord]:
    """Yield the metrics of every evaluated run of one method, under any key; skips unreadable records."""
    for path in sorted(method_folder.glob(f"*/{metrics_file('*')}")):
        with contextlib.suppress(UserError):
            yield MetricsRecord.read(path)
