"""Options of training that the loss-weighting literature's protocol needs."""

import pytest
import torch

from mtcp.core.config import Project, TrainingConfig
from mtcp.models.architecture import build_network
from mtcp.training.loop import is_snapshot
from mtcp.weighting.shared import head_parameters


def kept(**settings: int) -> list[int]:
    config = TrainingConfig(epochs=12, batch_size=2, **settings)
    return [epoch for epoch in range(12) if is_snapshot(epoch, config)]


def test_the_last_epochs_are_kept_but_for_the_very_last_which_is_the_model():
    assert kept(last_epochs=4) == [8, 9, 10]
    assert kept(last_epochs=1) == []
    assert kept(last_epochs=50) == list(range(11))
    assert kept(snapshots=3, last_epochs=2) == [3, 7, 10]


@pytest.mark.parametrize("method", ["segnet_equal", "mtcp", "mtl_baseline"])
def test_heads_are_found_by_name(method, root):
    config = Project(root).resolve("nyuv2_13" if method == "segnet_equal" else "rooms", method, 0)
    with torch.device("meta"):
        network = build_network(config.model_copy(update={"channels": 8} if method == "segnet_equal" else {}))
    heads = head_parameters(network)
    names = {name for name, parameter in network.named_parameters() if parameter in heads}
    assert names
    assert not {name for name in names if name.startswith("encoder.")}
    assert all("head" in name for name in names)
    for task in (task.name for task in config.task_list):
        assert any(task in name for name in names)
