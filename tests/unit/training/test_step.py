"""One training step and the validation losses of a small network, against the same numbers computed apart."""

from pathlib import Path

import pytest
import torch

from mtcp.core.project import Project
from mtcp.core.tasks import VOID
from mtcp.data.loading.batches import Batch
from mtcp.models.architecture import build_network
from mtcp.training.losses import task_loss
from mtcp.training.step import Stepper
from mtcp.weighting.base import LossNotFinite, SchemeContext, build_scheme

SIZE = (32, 32)


def batch(number: int, images: int = 2) -> Batch:
    draws = torch.Generator().manual_seed(number)
    targets = {
        "semseg": torch.randint(0, 13, (images, *SIZE), generator=draws),
        "depth": 1 + torch.rand(images, 1, *SIZE, generator=draws),
        "normals": torch.nn.functional.normalize(torch.randn(images, 3, *SIZE, generator=draws), dim=1),
    }
    return Batch(tuple("abc"[:images]), torch.randn(images, 3, *SIZE, generator=draws), targets)


@pytest.fixture
def stepper(root: Path) -> Stepper:
    """Equal weights on SegNets 4 channels wide, the same ones for every test."""
    config = Project(root).resolve("nyuv2_13", "segnet_equal", 0)
    config = config.model_copy(update={"channels": 4, "height": SIZE[0], "width": SIZE[1]})
    network = build_network(config).train()
    context = SchemeContext(tuple(task.name for task in config.task_list), 0, 2, 2, SIZE, network)
    return Stepper(config, network, build_scheme(config, context), torch.device("cpu"))


def gradient(stepper: Stepper) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in stepper.network.parameters() if p.grad is not None])


def test_micro_batches_add_up_to_the_mean_of_their_gradients(stepper: Stepper) -> None:
    apart = []
    for number in (0, 1):
        stepper.micro_step(batch(number), number, boundary=False)
        apart.append(gradient(stepper))
        stepper.optimiser.zero_grad()
    for number in (0, 1):
        stepper.micro_step(batch(number), number, boundary=False, batches=2)
    torch.testing.assert_close(gradient(stepper), (apart[0] + apart[1]) / 2, rtol=1e-4, atol=1e-6)


def test_a_step_moves_the_network_at_the_rate_that_was_set_and_clears_the_gradients(stepper: Stepper) -> None:
    before = [parameter.detach().clone() for parameter in stepper.network.parameters()]
    (group,) = stepper.optimiser.param_groups
    group["multiplier"] = 0.5
    stepper.set_rate(0.25)
    assert (stepper.rate, group["lr"]) == (0.25, 0.125)
    losses = stepper.micro_step(batch(0), 0, boundary=True)
    assert list(losses) == ["semseg", "depth", "normals"]
    assert all(parameter.grad is None for parameter in stepper.network.parameters())
    after = [parameter.detach() for parameter in stepper.network.parameters()]
    moved = max(float((new - old).abs().max()) for new, old in zip(after, before, strict=True))
    assert moved == pytest.approx(0.125, rel=1e-3), "Adam's first step"
    assert stepper.scheme.optimiser_steps == 1


def test_a_loss_that_is_not_finite_is_named_with_its_step(stepper: Stepper) -> None:
    wrong = batch(0)
    wrong.targets["depth"][0, 0, 3, 4] = torch.inf
    with pytest.raises(LossNotFinite, match=r"loss of task 'depth' became inf at step 7"):
        stepper.micro_step(wrong, 7, boundary=True)


def test_validation_losses_are_means_over_images_in_evaluation_mode(stepper: Stepper, monkeypatch) -> None:
    """A batch in which a task has no valid pixel does not count for it."""
    batches = [batch(0), batch(1, images=1), batch(2, images=1)]
    batches[2].targets["depth"].fill_(VOID)
    monkeypatch.setattr("mtcp.training.step.evaluation_batches", lambda *_: batches)
    state = {name: value.clone() for name, value in stepper.network.state_dict().items()}
    found = stepper.validation_losses(None)
    assert all(torch.equal(value, state[name]) for name, value in stepper.network.state_dict().items())
    with torch.no_grad():
        outputs = [stepper.network.eval()(one.image) for one in batches]
    for task in stepper.config.task_list:
        losses = [
            task_loss(task, output[task.name]["final"], one.targets[task.name], stepper.config.losses)
            for output, one in zip(outputs, batches, strict=True)
        ]
        weights = [2, 1, 1] if task.name != "depth" else [2, 1]
        expected = sum(w * loss.item() for w, loss in zip(weights, losses, strict=False)) / sum(weights)
        assert found[task.name] == pytest.approx(expected, rel=1e-5)
