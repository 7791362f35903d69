"""The choice among the trials of a budget: read from their records, written as one sealed record.

The record contains only what follows from the trials, so that `mtcp verify` can derive it again and compare.
"""

import math

from mtcp.core.errors import UserError
from mtcp.core.project_files import HISTORY
from mtcp.store.integrity import require_unchanged
from mtcp.store.plan import Choice, Run
from mtcp.store.records import ChoiceRecord, TrialRecord
from mtcp.store.tuning_search import best
from mtcp.training.history import VALIDATION_LOSS, read_history


def choose(choice: Choice) -> ChoiceRecord:
    """Write the record of `choice` unless it exists, and return it; raises `UserError` where a trial is missing."""
    record = choice.record()
    if record is None:
        record = chosen_record(choice)
        record.write(choice.path)
    return record


def chosen_record(choice: Choice) -> ChoiceRecord:
    """Return the record: the best trial, and every trial's changes, validation losses and cost.

    The best trial has the smallest validation loss after its last epoch (`mtcp.store.tuning_search.best`). A diverged
    trial is never chosen. Where all diverged, the first is chosen, which is the method's own configuration, and
    `reason` says so.
    """
    validation = [_validation_losses(trial) for trial in choice.trials]
    found = best(validation)
    records = [trial.record() for trial in choice.trials]
    return ChoiceRecord(
        benchmark=choice.benchmark,
        method=choice.method,
        chosen=found or 0,
        reason=f"all {len(validation)} configurations of the budget diverged" if found is None else "",
        trials=tuple(
            TrialRecord(
                train_key=record.train_key,
                training=change.training,
                scheme=change.scheme,
                validation=losses,
                status=record.status,
                reason=record.reason,
                cpu_seconds=record.cpu_seconds,
                gpu_seconds=record.gpu_seconds,
            )
            for record, change, losses in zip(records, choice.configurations, validation, strict=True)
        ),
    )


def described(record: ChoiceRecord) -> str:
    """Describe what was chosen, such as "configuration 3 of 8 (learning_rate 0.0012, kappa 2)"."""
    trial = record.trials[record.chosen]
    changes = ", ".join(f"{name} {value}" for name, value in {**trial.training, **trial.scheme}.items())
    return f"configuration {record.chosen + 1} of {len(record.trials)} ({record.reason or changes or 'its own'})"


def cost(record: ChoiceRecord) -> dict[str, float]:
    """Return the cost of the search: CPU seconds, and seconds for which GPUs were held."""
    return {
        "cpu_seconds": sum(trial.cpu_seconds for trial in record.trials),
        "gpu_seconds": sum(trial.gpu_seconds for trial in record.trials),
    }


def _validation_losses(trial: Run) -> dict[str, float] | None:
    """The loss of every task on validation images after the last epoch; None where the trial diverged."""
    if not trial.run_path.exists():
        raise UserError(
            f"{trial.name} is {trial.state()}: train it with `mtcp train {trial.benchmark} {trial.method} "
            f"--seed {trial.seed} --key {trial.train_key}`, or all of them with `snakemake --cores all`"
        )
    record = trial.record()
    if record.status == "diverged":
        return None
    written = {HISTORY: record.files.get(HISTORY, "")}
    require_unchanged(trial.directory, written, f"remove {trial.directory} and train the trial again")
    path = trial.directory / HISTORY
    rows = read_history(path)
    if not rows:
        raise UserError(f"{path} is damaged (it has no epoch): remove {trial.directory} and run the pipeline again")
    losses = {
        name.removeprefix(VALIDATION_LOSS): value
        for name, value in rows[-1].items()
        if name.startswith(VALIDATION_LOSS)
    }
    return losses if all(map(math.isfinite, losses.values())) else None
