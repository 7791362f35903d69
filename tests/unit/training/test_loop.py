"""The pure parts of the training loop; whole runs are in tests/end_to_end."""

import pytest

from mtcp.core.config import TrainingConfig
from mtcp.training.loop import is_snapshot


def settings(**changes) -> TrainingConfig:
    return TrainingConfig(**{"epochs": 10, "batch_size": 2, "learning_rate": 1e-3, **changes})


@pytest.mark.parametrize(
    ("snapshots", "kept"), [(0, []), (1, []), (2, [4]), (5, [1, 3, 5, 7]), (10, [0, 1, 2, 3, 4, 5, 6, 7, 8])]
)
def test_snapshots_are_evenly_spaced_and_leave_out_the_last_epoch(snapshots: int, kept: list[int]) -> None:
    assert [epoch for epoch in range(10) if is_snapshot(epoch, settings(snapshots=snapshots))] == kept
