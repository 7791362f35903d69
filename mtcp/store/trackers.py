"""The store's histories as TensorBoard events or Weights & Biases offline runs.

A separate watching process writes both from `history.csv`: training is not involved, and no key depends on them.
"""

import shutil
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from mtcp.core.errors import UserError
from mtcp.store.plan import Plan, Run
from mtcp.store.watching import history_of

Tracker = Literal["tensorboard", "wandb"]
_FOLDERS: Final[dict[Tracker, str]] = {"tensorboard": "results/tensorboard", "wandb": "results"}


class _Writer(Protocol):
    def add(self, epoch: int, values: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class Follower:
    """Writes every epoch of the grid's runs once, replacing the output of an earlier follower."""

    def __init__(self, plan: Plan, kind: Tracker) -> None:
        self.folder = plan.root / _FOLDERS[kind]
        self._open = {"tensorboard": _TensorBoard, "wandb": _Wandb}[kind]
        self._writers: dict[str, _Writer] = {}
        self._written: dict[str, int] = {}

    def follow(self, plan: Plan) -> int:
        """Write the new epochs; return their number."""
        new = 0
        for run in (*plan.trials, *plan.runs):
            rows = history_of(run)[self._written.get(run.name, 0) :]
            if rows and run.name not in self._writers:
                self._writers[run.name] = self._open(self.folder, run)
            for row in rows:
                values = {key: value for key, value in row.items() if key != "epoch"}
                self._writers[run.name].add(int(row["epoch"]), values)
            self._written[run.name] = self._written.get(run.name, 0) + len(rows)
            new += len(rows)
        return new

    def close(self) -> None:
        """Flush and close all files."""
        for writer in self._writers.values():
            writer.close()


class _TensorBoard:
    def __init__(self, folder: Path, run: Run) -> None:
        try:
            from tensorboard.summary import Writer
        except ImportError as error:
            raise _missing("tensorboard") from error
        for older in (folder / run.name).glob("events.out.*"):  # a run's folder holds those of its method's trials
            older.unlink(missing_ok=True)
        self._writer = Writer(str(folder / run.name))

    def add(self, epoch: int, values: dict[str, float]) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, epoch)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, folder: Path, run: Run) -> None:
        try:
            import wandb
        except ImportError as error:
            raise _missing("wandb") from error
        # Under a budget, the trial that was chosen and the run at its seed have one key.
        name = f"{run.method}-{run.seed}-{run.train_key}" + ("" if run.trial is None else f"-trial{run.trial}")
        for older in (folder / "wandb").glob(f"offline-run-*-{name}"):
            shutil.rmtree(older, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, Any] = run.config.model_dump(mode="json")
        self._run = wandb.init(
            mode="offline", dir=str(folder), project="mtcp", id=name, name=run.name,
            group=run.benchmark, config=config, reinit="create_new",
            settings=wandb.Settings(console="off", silent=True, disable_git=True),
        )  # fmt: skip

    def add(self, epoch: int, values: dict[str, float]) -> None:
        self._run.log(values, step=epoch)

    def close(self) -> None:
        self._run.finish()


def _missing(package: str) -> UserError:
    return UserError(f"--to {package} needs the package {package}: pip install 'mtcp[{package}]'")
