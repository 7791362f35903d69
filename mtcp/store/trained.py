"""A trained run as an object: its network, configuration, history, metrics and statistics per image."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mtcp.core.errors import UserError
from mtcp.core.project_files import HISTORY, MODEL, RECORD, RUNS, images_file, metrics_file
from mtcp.core.run_config import RunConfig
from mtcp.store.integrity import require_unchanged
from mtcp.store.plan import Plan, Run
from mtcp.store.records import MetricsRecord, RunRecord, readable_records

if TYPE_CHECKING:
    import pandas as pd

    from mtcp.evaluation.predicting import Predictions
    from mtcp.models.architecture import Architecture

_NO_RUN: Final = (
    f"is not a run: give BENCHMARK/METHOD/seedK, such as rooms/mtcp/seed20, or the folder of a run under {RUNS}"
)


@dataclass(frozen=True, repr=False)
class TrainedRun:
    """A finished run in `directory`; data are read on first use, and nothing is written."""

    directory: Path
    #: run.json: keys, seed, status, cost, machine, data, commit.
    record: RunRecord
    #: The project whose plug-ins may define the network.
    root: Path
    #: Which evaluation to read; None: the newest one, by the time of its file.
    eval_key: str | None = None

    def __repr__(self) -> str:
        return f"TrainedRun({self.name}, train_key={self.record.train_key}, status={self.record.status})"

    @property
    def name(self) -> str:
        """Benchmark, method and seed, such as `rooms/mtcp/seed20`."""
        return f"{self.record.benchmark}/{self.record.method}/seed{self.record.seed}"

    @property
    def keyed_name(self) -> str:
        """The name with the train_key, which other configurations and code do not share: for folders of results."""
        return f"{self.name}-{self.record.train_key}"

    @cached_property
    def config(self) -> RunConfig:
        """The resolved configuration that the run was trained with."""
        return self.record.run_config()

    @property
    def weights(self) -> Path:
        """The file of the network after the last epoch; raises `UserError` where it is missing or was changed."""
        return self._trained(MODEL)

    def _trained(self, name: str) -> Path:
        """The file that training wrote under `name`; raises `UserError` where it is missing or was changed."""
        written = {name: self.record.files.get(name, "")}
        require_unchanged(self.directory, written, f"remove {self.directory} and train the run again")
        return self.directory / name

    @cached_property
    def network(self) -> "Architecture":
        """The network after the last epoch, on the CPU, in evaluation mode."""
        from mtcp.models.checkpoints import load_network

        return load_network(self.config, self.weights, self.root).eval()

    @cached_property
    def history(self) -> "pd.DataFrame":
        """One row per epoch: learning rate, losses, weights; raises `UserError` where the file was changed."""
        import pandas as pd

        return pd.read_csv(self._trained(HISTORY))

    def _metrics_files(self) -> list[Path]:
        """The files of the evaluation to read, oldest first: at most one where `eval_key` is given."""
        found = self.directory.glob(metrics_file(self.eval_key or "*"))
        return sorted(found, key=lambda path: path.stat().st_mtime)

    @property
    def evaluated(self) -> bool:
        """Whether the run has metrics, of the evaluation `eval_key` where that is given."""
        return bool(self._metrics_files())

    @cached_property
    def _metrics_record(self) -> MetricsRecord:
        found = self._metrics_files()
        if not found:
            under = f" under eval_key {self.eval_key}" if self.eval_key else ""
            raise UserError(
                f"{self.name} is trained and not evaluated{under}: run `mtcp evaluate {self.record.benchmark} "
                f"{self.record.method} --seed {self.record.seed}`"
            )
        return MetricsRecord.read(found[-1])

    @cached_property
    def metrics(self) -> "pd.DataFrame":
        """Tidy: one row per selection, output, task and metric of the evaluation on the test split."""
        import pandas as pd

        rows = [
            (selection, output, task, metric, value)
            for selection, outputs in self._metrics_record.metrics.items()
            for output, tasks in outputs.items()
            for task, values in tasks.items()
            for metric, value in values.items()
        ]
        return pd.DataFrame(rows, columns=["selection", "output", "task", "metric", "value"])

    def images(self, output: str = "final") -> "pd.DataFrame":
        """Every metric for each test image separately: one row per image id, columns (task, metric).

        The mean over images differs from the metric of the test split where that pools pixels, as the mIoU does.
        """
        import pandas as pd

        from mtcp.metrics.recompute import metrics_by_image

        ids, statistics = self.statistics(output)
        rows = metrics_by_image(statistics, self.config.task_list, self.config.evaluation, len(ids))
        flat = [
            {(task, name): value for task, metrics in row.items() for name, value in metrics.items()} for row in rows
        ]
        table = pd.DataFrame(flat, index=pd.Index(ids, name="image"))
        table.columns = pd.MultiIndex.from_tuples([tuple(key) for key in table.columns], names=["task", "metric"])
        return table

    def statistics(self, output: str = "final") -> tuple[tuple[str, ...], dict[str, dict[str, Any]]]:
        """Image ids, and by task every image's sufficient statistics as arrays (images, ...); see docs/metrics.md.

        Raises `UserError` where the file is missing or was changed since the evaluation.
        """
        from mtcp.metrics.recompute import read_statistics

        record = self._metrics_record
        name = images_file(record.eval_key)
        require_unchanged(
            self.directory,
            {name: record.files.get(name, "")},
            f"remove {self.directory / metrics_file(record.eval_key)} and evaluate the run again",
        )
        return read_statistics(self.directory / name, output)

    def predict(self, photograph: Any, device: str = "cpu") -> "Predictions":
        """Predict on a photograph: the path of an image file, or an array (H, W, 3) of uint8.

        Returns {task: array} at the photograph's size; see `mtcp.evaluation.predicting.Predictions`. Raises `UserError`
        where it is neither, or where torch has no such device.
        """
        from mtcp.evaluation.predicting import predict, read_photograph, require_photograph
        from mtcp.store.devices import existing_device

        is_path = isinstance(photograph, str | Path)
        values = read_photograph(Path(photograph)) if is_path else require_photograph(photograph)
        found = existing_device(device)
        return predict(self.network, self.config, values, found)

    @property
    def class_names(self) -> dict[str, list[str]]:
        """Class names by task, from class 0, for the tasks whose class names are known."""
        return self.record.data.classes


def load_run(run: str | Path, root: Path | str = ".") -> TrainedRun:
    """Return a trained run by its name, such as `rooms/mtcp/seed20`, or by its folder in the store.

    A name refers to the run planned by the present configuration of the project `root`, and its metrics are those of
    the planned evaluation. Of a folder, the metrics are those of the only evaluation; where there are several, of the
    newest, by the time of its file. Raises `UserError` where the run is not trained, or diverged.
    """
    if not isinstance(run, str | Path):
        raise UserError(f"{run!r} {_NO_RUN}")
    directory, eval_key = Path(root) / run, None
    try:
        recorded = (directory / RECORD).exists()
    except OSError as error:
        raise UserError(f"'{str(run)[:80]}' ({error.strerror}) {_NO_RUN}") from error
    if not recorded:
        if directory.is_dir():
            raise UserError(f"{directory} holds no finished run, and so no network to use: train it first")
        planned = _planned(str(run), Path(root))
        directory, eval_key = planned.directory, planned.eval_key
    record = RunRecord.read(directory / RECORD)
    if record.status != "finished":
        raise UserError(f"{directory} holds a run that {record.status} ({record.reason}): it has no network to use")
    return TrainedRun(directory, record, _project_of(directory, Path(root)), eval_key)


def _project_of(directory: Path, root: Path) -> Path:
    """The project in whose store `directory` lies; `root` where it lies in none."""
    parents = directory.resolve().parents
    return parents[4] if len(parents) > 4 and parents[2] == parents[4] / RUNS else root


def _planned(name: str, root: Path) -> Run:
    """The run that the plan gives for `name`; raises `UserError` where it is not trained."""
    parts = name.strip("/").split("/")
    if len(parts) != 3 or not (parts[2].startswith("seed") and parts[2][4:].isdecimal()):
        raise UserError(f"'{name}' {_NO_RUN}")
    benchmark, method, seed = parts[0], parts[1], int(parts[2][4:])
    planned = Plan.load(root, only=(benchmark, method)).run(benchmark, method, seed)
    planned.require_chosen()
    if not planned.run_path.exists():
        others = [path for path, record in readable_records(root / RUNS / benchmark / method) if record.seed == seed]
        older = f"; an older one, of another key, is {others[-1]}" if others else ""
        raise UserError(
            f"{name} is {planned.state()}: train it with `mtcp train {benchmark} {method} --seed {seed}`{older}"
        )
    return planned
