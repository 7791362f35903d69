"""Which epochs' networks a training keeps, for the selections `best_on_test` and `last_epochs_mean`."""

from mtcp.core.run_config import TrainingConfig


def is_spaced(training: TrainingConfig, epoch: int) -> bool:
    """Whether `epoch`, from 0, is one of the `snapshots` evenly spaced ones."""
    before, after = (count * training.snapshots // training.epochs for count in (epoch, epoch + 1))
    return after > before


def is_late(training: TrainingConfig, epoch: int) -> bool:
    """Whether `epoch`, from 0, is one of the `last_epochs`."""
    return epoch >= training.epochs - training.last_epochs


def is_kept(training: TrainingConfig, epoch: int) -> bool:
    """Whether the network of a spaced or late `epoch` is kept; the final one is not: it is saved as the model."""
    return (is_spaced(training, epoch) or is_late(training, epoch)) and epoch + 1 < training.epochs
