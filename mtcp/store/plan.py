"""The grid as runs with keys and paths: what is done, missing or superseded. Does not import torch.

`train_key` names a run's directory and `eval_key` its metrics. A changed input therefore means a missing file, and so
work to do; changing it back means none. See docs/orchestration.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from mtcp.core.code_digest import code_digest
from mtcp.core.config import ResourceConfig
from mtcp.core.errors import UserError, refusal
from mtcp.core.hashing import file_digest, short_key
from mtcp.core.plugins import PACKAGE_ROOT
from mtcp.core.project import Project
from mtcp.core.project_files import (
    CLAIMS,
    FAILURE,
    LEDGER,
    LOCK,
    PUBLISHED,
    RECORD,
    REPORTS,
    RUNS,
    STATE,
    TABLES,
    images_file,
    lock_file,
    metrics_file,
    run_folder,
    speed_file,
)
from mtcp.core.references import require_known_names
from mtcp.core.roles import role_notes, with_roles
from mtcp.core.run_config import RunConfig
from mtcp.core.startup import uncollected
from mtcp.core.words import counted
from mtcp.data.locks import data_digest, manifest_path, require_validation_images
from mtcp.store.keys import evaluation_parts, key_parts
from mtcp.store.records import ChoiceRecord, MetricsRecord, RunRecord
from mtcp.store.tuning_search import Configuration, configurations

State = Literal["done", "trained", "running", "failed", "interrupted", "missing", "waiting"]
#: The states in which nothing is left to train.
TRAINED: Final = ("done", "trained")


@dataclass(frozen=True)
class Run:
    """Benchmark x method x seed with its keys: the unit of work, caching and provenance.

    Under a budget, a run is a `trial`, or its configuration comes from a `choice`. Until the choice is made, the run is
    waiting and has placeholder keys, under which nothing is ever written. An `archived` run has only its records and
    history.
    """

    config: RunConfig
    parts: dict[str, Any] = field(repr=False)
    train_key: str
    eval_key: str
    root: Path = field(repr=False)
    trial: int | None = None
    choice: "Choice | None" = field(default=None, repr=False)
    archived: bool = False

    @property
    def benchmark(self) -> str:
        return self.config.benchmark

    @property
    def method(self) -> str:
        return self.config.method

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def name(self) -> str:
        trial = "" if self.trial is None else f"/trial{self.trial}"
        return f"{self.benchmark}/{self.method}/seed{self.seed}{trial}"

    @property
    def waiting(self) -> bool:
        """Whether the run's configuration has yet to be chosen among its method's trials."""
        return self.choice is not None and self.train_key == self.choice.key

    @property
    def identity(self) -> str:
        """The run's eval_key or, under a budget, a stand-in that is known before any choice; used to name stamps."""
        return self.eval_key if self.choice is None else self.choice.eval_key(self.seed)

    @cached_property
    def directory(self) -> Path:
        return run_folder(self.root, self.benchmark, self.method, self.seed, self.train_key)

    @property
    def run_path(self) -> Path:
        return self.directory / RECORD

    @property
    def metrics_path(self) -> Path:
        return self.directory / metrics_file(self.eval_key)

    @property
    def images_path(self) -> Path:
        return self.directory / images_file(self.eval_key)

    @property
    def failure_path(self) -> Path:
        """The file with the reason of a crashed training; removed when the training is resumed."""
        return self.directory / FAILURE

    def state(self) -> State:
        """Done (evaluated), running (lock held), trained, failed (crashed), interrupted (can resume) or missing.

        Under a budget also waiting: the run's configuration has not been chosen yet.
        """
        if self.waiting:
            return "waiting"
        trained = self.run_path.exists()
        if trained and self.metrics_path.exists():
            return "done"
        if _is_locked(self.directory / LOCK):
            return "running"
        if trained:
            return "trained"
        if self.failure_path.exists():
            return "failed"
        return "interrupted" if (self.directory / STATE).exists() else "missing"

    def require_chosen(self) -> None:
        """Raise `UserError` where the run's configuration has not been chosen yet."""
        if self.waiting and self.choice is not None:
            trials = counted(len(self.choice.trials), "trial")
            raise UserError(
                f"{self.name} waits for the choice of its configuration among {trials}: "
                f"`snakemake --cores all` trains them; `mtcp plan` lists them"
            )

    def record(self) -> RunRecord:
        """Read run.json and check that it belongs to this run; raises `UserError` where it does not."""
        record = RunRecord.read(self.run_path)
        for key, expected in (("train_key", self.train_key), ("method", self.method), ("seed", self.seed)):
            if (found := getattr(record, key)) != expected:
                raise UserError(
                    f"{self.run_path} says {key} {found!r} where its place says {expected!r}: "
                    f"the folder was edited or copied; remove it and run the pipeline again"
                )
        return record

    def metrics(self) -> MetricsRecord:
        """Read the run's metrics and check that they belong to this run; raises `UserError` where they do not."""
        record = MetricsRecord.read(self.metrics_path)
        if (record.train_key, record.eval_key) != (self.train_key, self.eval_key):
            raise UserError(
                f"{self.metrics_path} does not carry its own keys: it was edited or copied; remove it and run again"
            )
        return record


@dataclass(frozen=True)
class Choice:
    """The search of one method under its benchmark's budget: trials at the first seed, and the record of the best.

    The record is named by a hash of the trials' keys and of the code that chooses. A changed budget, or anything that
    makes a trial train again, therefore means a new choice.
    """

    benchmark: str
    method: str
    configurations: tuple[Configuration, ...]
    trials: tuple[Run, ...]
    evaluation: dict[str, Any] = field(repr=False)
    root: Path = field(repr=False)

    @cached_property
    def key(self) -> str:
        code = code_digest([PACKAGE_ROOT / f"mtcp/store/{name}.py" for name in ("tuning_search", "tuning_choice")])
        return short_key(["choice", [trial.train_key for trial in self.trials], code])

    def eval_key(self, seed: int) -> str:
        """Stand-in for the eval_key of the run at `seed`, independent of the configuration that is chosen."""
        return short_key([self.key, seed, self.evaluation])

    @property
    def path(self) -> Path:
        return self.root / RUNS / self.benchmark / self.method / f"choice-{self.key}.json"

    def record(self) -> ChoiceRecord | None:
        """Read the record, or return None if there is none yet; raises `UserError` where it names other trials."""
        if not self.path.exists():
            return None
        record = ChoiceRecord.read(self.path)
        if [trial.train_key for trial in record.trials] != [trial.train_key for trial in self.trials]:
            raise UserError(f"{self.path} names other trials than its key does: remove it and run the pipeline again")
        return record


@dataclass(frozen=True)
class Stamps:
    """Files whose names identify the inputs of a step; a missing stamp means that the step must run."""

    check: Path
    tables: Path
    report: Path


@dataclass(frozen=True)
class Plan:
    """All runs of `params.yaml`, in the order benchmark, method, seed."""

    project: Project
    runs: tuple[Run, ...]

    @classmethod
    def load(cls, root: Path | str = ".", only: tuple[str, str | None] | None = None) -> "Plan":
        """Plan the grid of the project at `root`; raises `UserError` for anything unknown or missing.

        `only` (benchmark, method): plan only these runs; work on one run needs neither the keys nor the plug-ins of
        the others.
        """
        project = Project(root)
        with uncollected():  # syntax trees are many objects
            if only is None:
                require_known_names(project)
            params = project.params
            pairs = [(benchmark, method) for benchmark in params.benchmarks for method in params.methods]
            chosen = [pair for pair in pairs if only in (None, pair)]
            try:
                return cls(project, tuple(run for pair in chosen for run in runs_of(project, *pair, params.seeds)))
            except UserError:
                for pair in chosen:  # a mistake in the configuration goes before data that are missing
                    project.resolve(*pair, params.seeds[0])
                raise

    @property
    def root(self) -> Path:
        return self.project.root

    @cached_property
    def _by_name(self) -> dict[tuple[str, str, int], Run]:
        return {(run.benchmark, run.method, run.seed): run for run in self.runs}

    def of(self, benchmark: str) -> tuple[Run, ...]:
        """The runs of one benchmark."""
        return tuple(run for run in self.runs if run.benchmark == benchmark)

    def run(self, benchmark: str, method: str, seed: int, key: str | None = None) -> Run:
        """One run; planned here if it is not in the grid of params.yaml.

        `key`: a train_key; selects the method's trial with this key, if there is one.
        """
        found = self._by_name.get((benchmark, method, seed)) or runs_of(self.project, benchmark, method, [seed])[0]
        trials = found.choice.trials if found.choice else ()
        return next((trial for trial in trials if key == trial.train_key != found.train_key), found)

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """The choices that runs of the grid depend on, in the grid's order."""
        return tuple({run.choice.path: run.choice for run in self.runs if run.choice}.values())

    @property
    def trials(self) -> tuple[Run, ...]:
        """The trials of all choices."""
        return tuple(trial for choice in self.choices for trial in choice.trials)

    def notes(self) -> list[str]:
        """Notes for the user: substitutes for methods that benchmarks name as a role and the grid lacks."""
        return [note for name in self.project.params.benchmarks for note in role_notes(self.project, name)]

    def resources(self, benchmark: str) -> ResourceConfig:
        """The resources that one run of a benchmark requests."""
        return self.project.benchmark(benchmark).resources

    def data_folder(self, benchmark: str) -> Path:
        """The folder with the data of a benchmark."""
        return self.root / "data" / self.project.data_name(benchmark)

    def manifest(self, benchmark: str) -> Path:
        """The small file that represents a benchmark's data in the workflow."""
        return manifest_path(self.project, benchmark)

    def stamps(self, benchmark: str) -> "Stamps":
        """The stamps of one benchmark: for the check of its methods, its tables and its report."""
        runs, bench = self.of(benchmark), with_roles(self.project, benchmark)
        trials = [trial for trial in self.trials if trial.benchmark == benchmark]
        checked = short_key([run.train_key for run in (*(run for run in runs if run.choice is None), *trials)])
        tables = short_key(
            [
                [[run.method, run.seed, run.identity] for run in runs],
                {run.method: self.project.method(run.method).model_dump(mode="json") for run in runs},
                bench.model_dump(mode="json"),
                self.project.params.looks,
                _contents(
                    self.root / CLAIMS,
                    self.root / PUBLISHED,
                    *(speed_file(self.root, benchmark, method) for method in dict.fromkeys(run.method for run in runs)),
                ),
                code_digest([PACKAGE_ROOT / "mtcp/analysis/tables.py"]),
            ]
        )
        templates = sorted((PACKAGE_ROOT / "mtcp/report/templates").iterdir())
        report = short_key(
            [
                tables,
                self.project.params.title,
                code_digest([PACKAGE_ROOT / "mtcp/report/render.py"]),
                _contents(
                    *templates,
                    PACKAGE_ROOT / "mtcp/core/words.py",  # plurals, which the digest of the code leaves out
                    self.root / LEDGER,
                    lock_file(self.root, self.project.data_name(benchmark)),
                ),
            ]
        )
        return Stamps(
            check=self.root / f"results/checks/{benchmark}-{checked}.ok",
            tables=self.root / TABLES / benchmark / f"grid-{tables}.stamp",
            report=self.root / REPORTS / f".{benchmark}-grid-{report}.stamp",
        )

    def metrics_stamp(self) -> Path:
        """The stamp of the metrics of all benchmarks."""
        key = short_key([self.stamps(name).tables.name for name in self.project.params.benchmarks])
        return self.root / TABLES / f"metrics-{key}.stamp"

    def superseded(self) -> Iterator[Path]:
        """Run directories and choices in the store that do not belong to the grid: older keys, other grids.

        No run of a method whose choice is open: those of the configuration that wins are needed again.
        """
        wanted = {run.directory for run in (*self.runs, *self.trials)} | {choice.path for choice in self.choices}
        open_choices = {choice.path.parent for choice in self.choices if choice.record() is None}
        for pattern in ("*/*/seed*-*", "*/*/choice-*.json"):
            for path in sorted((self.root / RUNS).glob(pattern)):
                if path not in wanted and not (path.is_dir() and path.parent in open_choices):
                    yield path


def runs_of(project: Project, benchmark: str, method: str, seeds: list[int]) -> tuple[Run, ...]:
    """The runs of one benchmark and method, one per seed; under a budget, with the chosen configuration."""
    config = project.resolve(benchmark, method, seeds[0])
    require_validation_images(project, benchmark)
    parts = key_parts(config, data_digest(project, benchmark), project.root)
    evaluation = evaluation_parts(config)

    def planned(config: RunConfig, seeds: list[int], **marks: Any) -> tuple[Run, ...]:
        own = {**parts, "config": config.training_part()}
        return tuple(_with_seed(config, own, evaluation, seed, project.root, **marks) for seed in seeds)

    tried = _tried(project, config)
    if not tried:
        return planned(config, seeds)
    configs = [change.applied(config) for change in tried]
    first = project.params.seeds[:1]
    trials = tuple(run for index, each in enumerate(configs) for run in planned(each, first, trial=index))
    choice = Choice(benchmark, method, tried, trials, evaluation, project.root)
    record = choice.record()
    if record is not None:
        return planned(configs[record.chosen], seeds, choice=choice)
    waiting = planned(config, seeds, choice=choice)
    return tuple(replace(run, train_key=choice.key, eval_key=run.identity) for run in waiting)


def _tried(project: Project, config: RunConfig) -> tuple[Configuration, ...]:
    """The configurations that a method tries: none without a budget, none for trivial baselines."""
    budget, method = project.benchmark(config.benchmark).budget, project.method(config.method)
    if budget is None or method.family == "trivial":
        return ()
    return configurations(
        budget, config.benchmark, config.method, method.search, [task.name for task in config.task_list]
    )


def _with_seed(
    config: RunConfig, parts: dict[str, Any], evaluation: dict[str, Any], seed: int, root: Path, **marks: Any
) -> Run:
    own = {**parts, "config": {**parts["config"], "seed": seed}}
    train_key = short_key(own)
    eval_key = short_key([train_key, evaluation])
    return Run(config.model_copy(update={"seed": seed}), own, train_key, eval_key, root, **marks)


def key_of(stamp: Path) -> str:
    """The key in a stamp's name."""
    return stamp.stem.rpartition("-")[2]


def _contents(*paths: Path) -> list[str]:
    return [file_digest(path) if path.exists() else "" for path in paths]


def _is_locked(path: Path) -> bool:
    """Whether a process holds the lock; raises `UserError` where the file cannot be read, as nobody knows then."""
    import fcntl

    try:
        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise UserError(
            f"cannot read {path}, which says whether its run is running: {refusal(error)}; let this user read it"
        ) from error
    return False
