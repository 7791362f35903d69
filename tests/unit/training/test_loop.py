"""The pure parts of the training loop; whole runs are in tests/end_to_end."""

import pytest

from mtcp.core.run_config import TrainingConfig
from mtcp.core.snapshots import is_kept
from mtcp.training.loop import step_of


def settings(**changes) -> TrainingConfig:
    return TrainingConfig(**{"epochs": 10, "batch_size": 2, "learning_rate": 1e-3, **changes})


@pytest.mark.parametrize(
    ("snapshots", "kept"), [(0, []), (1, []), (2, [4]), (5, [1, 3, 5, 7]), (10, [0, 1, 2, 3, 4, 5, 6, 7, 8])]
)
def test_snapshots_are_evenly_spaced_and_leave_out_the_last_epoch(snapshots: int, kept: list[int]) -> None:
    assert [epoch for epoch in range(10) if is_kept(settings(snapshots=snapshots), epoch)] == kept


@pytest.mark.parametrize(
    ("steps", "accumulate", "sizes"), [(5, 1, [1, 1, 1, 1, 1]), (4, 2, [2, 2]), (9, 4, [4, 4, 1]), (3, 4, [3])]
)
def test_the_last_step_of_an_epoch_is_the_mean_of_the_micro_batches_that_it_has(steps, accumulate, sizes) -> None:
    """A quarter of a batch at a quarter of the scale would be a sixteenth of a step."""
    found = [step_of(index, steps, accumulate) for index in range(steps)]
    assert [batches for batches, last in found if last] == sizes
    assert [batches for batches, _ in found] == [size for size in sizes for _ in range(size)]
