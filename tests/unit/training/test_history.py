"""What a history says about a run."""

import math

import pytest

from mtcp.training.history import untrained_tasks

SOUND = {"loss_depth": 0.5, "weight_depth": 1.0, "loss_edge": 0.1, "weight_edge": 0.2}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([SOUND, SOUND], []),
        ([], []),
        ([{**SOUND, "weight_edge": 0.0}] * 3, ["edge"]),
        ([{**SOUND, "weight_edge": 0.0}, SOUND], []),
        ([{**SOUND, "weight_edge": -0.3}] * 2, []),
        ([{**SOUND, "weight_depth": math.nan}], ["depth"]),
        ([{"loss_edge": 0.1, "weight_edge": 1.0, "weight_depth": math.nan}], ["depth"]),
        ([{"loss_edge": 0.1}, {"loss_edge": 0.1, "loss_depth": 0.4}], []),
        ([{"loss_edge": 0.1}], ["depth"]),
    ],
)
def test_a_task_without_loss_or_weight_in_any_epoch_was_never_trained(rows: list[dict], found: list[str]) -> None:
    assert untrained_tasks(rows, ("depth", "edge")) == found
