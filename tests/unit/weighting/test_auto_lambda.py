"""Auto-Lambda against the derivative it stands for, taken exactly by autograd through the step."""

import pytest
import torch
from torch.func import functional_call

from mtcp.core import plugins
from mtcp.core.errors import UserError
from mtcp.weighting.base import SchemeContext
from tests.unit.weighting.conftest import TASKS, Toy


class Plain(Toy):
    """Without BatchNorm, whose statistics are part of neither derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.stem[1] = torch.nn.Tanh()


def losses_of(network, number, parameters=None):
    draws = torch.Generator().manual_seed(number)
    image = torch.randn(4, 3, 8, 8, generator=draws, dtype=torch.float64)
    targets = torch.randn(len(TASKS), 4, 1, 6, 6, generator=draws, dtype=torch.float64)
    outputs = network(image) if parameters is None else functional_call(network, parameters, (image,))
    return {
        task: 4.0**-index * (outputs[task]["final"] - target).square().mean() + 0.05
        for index, (task, target) in enumerate(zip(TASKS, targets, strict=True))
    }


def build(network, **given):
    context = SchemeContext(TASKS, 7, 4, 3, (8, 8), network, validation=lambda number: losses_of(network, 100 + number))
    return plugins.load("scheme", "auto_lambda")(context, plugins.parameters("scheme", "auto_lambda", given)).double()


def through_a_step(network, rate=1e-6):
    """d V(theta - rate grad sum_t w_t l_t) / d w_t at w = 1, over -rate, by autograd."""
    parameters = {name: value.detach().requires_grad_() for name, value in network.named_parameters()}
    weights = torch.ones(len(TASKS), dtype=torch.float64, requires_grad=True)
    total = (weights * torch.stack(list(losses_of(network, 0, parameters).values()))).sum()
    gradients = torch.autograd.grad(total, list(parameters.values()), create_graph=True, materialize_grads=True)
    moved = {name: value - rate * g for (name, value), g in zip(parameters.items(), gradients, strict=True)}
    wanted = torch.stack(list(losses_of(network, 101, moved).values())).sum()
    return torch.autograd.grad(wanted, weights)[0]


def test_its_gradient_is_the_derivative_through_the_step():
    torch.manual_seed(0)
    network = Plain().double()
    scheme = build(network)
    scheme.backward(losses_of(network, 0), None, None, 1.0)
    network.zero_grad()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    scheme.after_step(lambda: losses_of(network, 0))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    exact = through_a_step(network) / 1e-6
    assert (scheme.task_weights.grad - exact).abs().max() < 0.01 * exact.abs().max()


def test_a_task_that_opposes_the_validation_losses_loses_weight():
    torch.manual_seed(0)
    network = Plain().double()
    scheme = build(network, rate=0.01)

    def losses(number):
        found = losses_of(network, number)
        return {**found, "depth": 2.0 - found["depth"]}

    for step in range(3):
        scheme.backward(losses(step), None, None, 1.0)
        network.zero_grad()
        scheme.close_step(lambda step=step: losses(step))
    weights = dict(zip(TASKS, scheme.task_weights.tolist(), strict=True))
    assert weights["depth"] < 0.1 < weights["semseg"]


def test_a_loss_counts_by_its_weight_relative_to_the_initial_one(bench, effective):
    scheme = bench("auto_lambda", initial=0.2).scheme
    assert effective(scheme, [1.0, 2.0, 3.0]).tolist() == pytest.approx([1, 1, 1])
    with torch.no_grad():
        scheme.task_weights.copy_(torch.tensor([0.2, 0.1, 0.5]))
    assert effective(scheme, [1.0, 2.0, 3.0]).tolist() == pytest.approx([1, 0.5, 2.5])


def test_running_statistics_stay_as_they_are(bench):
    run = bench("auto_lambda")
    losses, representation = run.losses(0)
    run.scheme.backward(losses, None, representation, 1.0)
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    run.scheme.after_step(lambda: run.losses(0)[0])
    assert all(torch.equal(value, before[name]) for name, value in run.network.state_dict().items())


def test_without_validation_images_it_says_so(loss_scheme):
    with pytest.raises(UserError, match="the benchmark keeps none: set `validation_share`"):
        loss_scheme("auto_lambda")


def test_a_task_that_was_not_measured_again_does_not_move(bench):
    run = bench("auto_lambda", rate=0.01)
    for number, absent in enumerate([(), ("depth",)]):
        losses, representation = run.losses(number, absent)
        run.scheme.backward(losses, None, representation, 0.5, boundary=number == 1)
    run.scheme.close_step(lambda: run.losses(1, ("depth",))[0])
    before, after = 0.1, run.scheme.task_weights.detach()
    moved = [float(value) != pytest.approx(before) for value in after]
    assert moved == [task != "depth" for task in run.scheme.tasks]


def test_a_validation_batch_without_a_valid_pixel_moves_nothing():
    network = Plain().double()
    context = SchemeContext(TASKS, 7, 4, 3, (8, 8), network, validation=lambda number: {})
    scheme = plugins.load("scheme", "auto_lambda")(context, plugins.parameters("scheme", "auto_lambda", {})).double()
    scheme.backward(losses_of(network, 0), None, None, 1.0)
    scheme.close_step(lambda: losses_of(network, 0))
    assert scheme.task_weights.tolist() == pytest.approx([0.1] * len(TASKS))
