"""The choice among the trials of a budget: read from their records, written as one sealed record.

The record holds nothing but what follows from the trials, so that `mtcp verify` can make it again and compare.
"""

import csv
import math
from typing import Any

from mtcp.core.errors import UserError
from mtcp.core.files import write_record
from mtcp.store.integrity import require_unchanged
from mtcp.store.plan import Choice, Run
from mtcp.store.tuning_search import best


def choose(choice: Choice) -> dict[str, Any]:
    """Write the record of `choice` unless it is there, and return it; raises `UserError` where a trial is missing."""
    record = choice.record()
    if record is None:
        record = chosen_record(choice)
        write_record(choice.path, record)
    return record


def chosen_record(choice: Choice) -> dict[str, Any]:
    """Return which trial is best, and every trial with what it changed, its validation losses and its cost.

    The best has the smallest validation loss after its last epoch (`mtcp.store.tuning_search.best`). A trial
    that diverged is never chosen; where all did, the first, the method's own configuration, stands for them, and
    `reason` says so.
    """
    validation = [_validation_losses(trial) for trial in choice.trials]
    found = best(validation)
    return {
        "schema": 1,
        "benchmark": choice.benchmark,
        "method": choice.method,
        "chosen": found or 0,
        "reason": f"all {len(validation)} configurations of the budget diverged" if found is None else "",
        "trials": [
            {
                "train_key": trial.train_key,
                "training": change.training,
                "scheme": change.scheme,
                "validation": losses,
                **{name: trial.record()[name] for name in ("status", "reason", "cpu_seconds", "gpu_seconds")},
            }
            for trial, change, losses in zip(choice.trials, choice.configurations, validation, strict=True)
        ],
    }


def described(record: dict[str, Any]) -> str:
    """Say in words what was chosen: "configuration 3 of 8 (learning_rate 0.0012, kappa 2)"."""
    trial = record["trials"][record["chosen"]]
    changes = ", ".join(f"{name} {value}" for name, value in {**trial["training"], **trial["scheme"]}.items())
    number = f"configuration {record['chosen'] + 1} of {len(record['trials'])}"
    return f"{number} ({record['reason'] or changes or 'its own'})"


def cost(record: dict[str, Any]) -> dict[str, float]:
    """Return what the search cost: CPU seconds, and seconds for which a GPU was held."""
    return {name: sum(trial[name] for trial in record["trials"]) for name in ("cpu_seconds", "gpu_seconds")}


def _validation_losses(trial: Run) -> dict[str, float] | None:
    """The loss of every task on validation images after the last epoch; None where the trial diverged."""
    if not trial.run_path.exists():
        raise UserError(
            f"{trial.name} is {trial.state()}: train it with `mtcp train {trial.benchmark} {trial.method} "
            f"--seed {trial.seed} --key {trial.train_key}`, or all of them with `snakemake --cores all`"
        )
    record = trial.record()
    if record["status"] == "diverged":
        return None
    path, prefix = trial.directory / "history.csv", "validation_loss_"
    written = {name: value for name, value in record["files"].items() if name == path.name}
    require_unchanged(trial.directory, written, f"remove {trial.directory} and train the trial again")
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            last = list(csv.DictReader(stream))[-1]
        losses = {name.removeprefix(prefix): float(value) for name, value in last.items() if name.startswith(prefix)}
    except (OSError, IndexError, ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): remove {trial.directory} and run the pipeline again") from error
    return losses if all(map(math.isfinite, losses.values())) else None
