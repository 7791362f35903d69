"""Trivial predictors: counts by hand, and that they are the least a network must beat."""

import pytest
import torch

from baselines.architectures.trivial import TrivialConstant, TrivialPrior
from mtcp.core.errors import UserError
from mtcp.core.plugins import PluginParameters
from mtcp.core.run_config import EncoderConfig
from mtcp.core.tasks import VOID, make_task
from mtcp.data.loading.batches import Batch
from mtcp.models.architecture import BuildContext

TASKS = (make_task("semseg", classes=3), make_task("depth"), make_task("normals"), make_task("edge"))
CONTEXT = BuildContext(
    tasks=TASKS, layout="nyud", size=(1, 2), encoder=EncoderConfig(kind="timm", model="none"), channels=4, upsample=2,
    seeds=("rooms", 0),
)  # fmt: skip


def batch(classes: list[int], depths: list[float], edges: list[float]) -> Batch:
    normals = torch.tensor([0.0, 0.6, 0.8]).reshape(1, 3, 1, 1).repeat(1, 1, 1, 2)
    normals[..., torch.tensor(depths) == VOID] = VOID
    targets = {
        "semseg": torch.tensor([[classes]]),
        "depth": torch.tensor([[[depths]]]),
        "normals": normals,
        "edge": torch.tensor([[[edges]]]),
    }
    return Batch(("a",), torch.zeros(1, 3, 1, 2), targets)


BATCHES = [
    batch([0, 1], [1.0, 4.0], [0.0, 1.0]),
    batch([2, 1], [3.0, VOID], [0.0, 1.0]),
    batch([2, VOID], [2.0, VOID], [1.0, 0.0]),
]


def fitted(kind: type[TrivialPrior], batches: list[Batch] = BATCHES) -> dict[str, torch.Tensor]:
    network = kind(CONTEXT, PluginParameters())
    network.fit(iter(batches))
    outputs = network(torch.zeros(2, 3, 1, 2))
    assert all(
        output["final"].shape == (2, task.channels, 1, 2) for task, output in zip(TASKS, outputs.values(), strict=True)
    )
    return {task: output["final"][0] for task, output in outputs.items()}


def test_prior_is_per_pixel():
    found = fitted(TrivialPrior)
    assert found["semseg"].argmax(0).tolist() == [[2, 1]]
    assert found["depth"].tolist() == [[[2.0, 4.0]]]
    assert torch.allclose(found["normals"][:, 0, 0], torch.tensor([0.0, 0.6, 0.8]))
    assert torch.allclose(found["edge"].sigmoid(), torch.tensor([[[1 / 3, 2 / 3]]]))


def test_constant_is_over_all_pixels():
    found = fitted(TrivialConstant)
    # Classes 1 and 2 occur twice each, class 0 once: the first of equals is predicted everywhere.
    assert found["semseg"].argmax(0).tolist() == [[1, 1]]
    assert found["depth"].tolist() == [[[2.5, 2.5]]]
    assert torch.allclose(found["edge"].sigmoid(), torch.full((1, 1, 2), 0.5))


def test_a_pixel_never_annotated_takes_the_mean_of_all():
    found = fitted(TrivialPrior, [batch([0, VOID], [3.0, VOID], [0.0, VOID])])
    assert found["depth"].tolist() == [[[3.0, 3.0]]]
    assert found["semseg"].argmax(0).tolist() == [[0, 0]]


def test_a_task_without_any_annotation_is_refused():
    with pytest.raises(UserError, match="no annotated pixel of task 'semseg'"):
        fitted(TrivialPrior, [batch([VOID, VOID], [1.0, 1.0], [0.0, 0.0])])


def test_truths_of_another_size_are_counted_at_the_networks():
    large = batch([0, 1], [1.0, 4.0], [0.0, 1.0])
    large = Batch(
        large.ids,
        large.image,
        {k: t.repeat_interleave(3, -1).repeat_interleave(3, -2) for k, t in large.targets.items()},
    )
    found = fitted(TrivialPrior, [large])
    assert found["depth"].tolist() == [[[1.0, 4.0]]]


def test_state_survives_saving():
    network = TrivialPrior(CONTEXT, PluginParameters())
    network.fit(iter(BATCHES))
    other = TrivialPrior(CONTEXT, PluginParameters())
    other.load_state_dict(network.state_dict())
    assert torch.equal(other.depth_prior, network.depth_prior)
