"""IGBv2's agent against torch's own layers and distributions, and what it learns from."""

import io
import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.nn import functional


def steps(scheme, losses):
    for value in losses:
        leaves = {task: torch.tensor(x, requires_grad=True) for task, x in zip(scheme.tasks, value, strict=True)}
        scheme.backward(leaves, None, None, 1.0)
        scheme.close_step(dict)


def agent(loss_scheme, **given):
    return loss_scheme("igb_v2", base_epoch=0, learning_from=1, random_epochs=1, every=2, **given)


def test_the_two_critics_are_two_networks(loss_scheme):
    scheme = agent(loss_scheme)
    losses, weights = torch.rand(5, 3), torch.rand(5, 3)
    together = scheme.critics(losses, weights)
    for one in range(2):
        values = torch.cat([losses, weights], -1)
        for depth, (weight, bias) in enumerate(zip(scheme.critics.weights, scheme.critics.biases, strict=True)):
            values = functional.linear(functional.relu(values) if depth else values, weight[one].T, bias[one, 0])
        torch.testing.assert_close(together[one], values)


def test_the_actors_density_is_that_of_the_authors(loss_scheme):
    scheme = agent(loss_scheme)
    losses = torch.rand(4, 3)
    weights, density = scheme.actor(losses, torch.Generator().manual_seed(3))
    features = scheme.actor.body(losses)
    normal = Normal(scheme.actor.mean(features), scheme.actor.log_deviation(features).clamp(-20, 2).exp())
    u = normal.mean + normal.stddev * torch.randn(4, 3, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(weights, 3 * torch.softmax(u, -1))
    tanh = 2 * (torch.log(torch.tensor(2.0)) - u - functional.softplus(-2 * u))
    torch.testing.assert_close(density, (normal.log_prob(u) - tanh).sum(-1, keepdim=True))


class Constant(nn.Module):
    """A network whose output is given."""

    def __init__(self, *output):
        super().__init__()
        self.output = output[0] if len(output) == 1 else output

    def forward(self, *_):
        return self.output


def test_an_update_descends_the_soft_actor_critics_losses(loss_scheme):
    """With temperature 0.2: the return is r + 0.99 (the lower follower - 0.2 log density) of the next state."""
    scheme, descended = loss_scheme("igb_v2", tasks=2), {}
    scheme._descend = lambda name, loss: descended.update({name: loss.item()})
    scheme.actor = Constant(torch.ones(1, 2), torch.full((1, 1), 0.5))
    scheme.critics = Constant(torch.tensor([1.0, 2.0]).view(2, 1, 1))
    scheme.followers = Constant(torch.tensor([5.0, 3.0]).view(2, 1, 1))
    scheme._improve(torch.ones(1, 2), torch.ones(1, 2), torch.ones(1, 2), torch.full((1, 1), 0.25), torch.Generator())
    wanted = 0.25 + 0.99 * (3 - 0.2 * 0.5)
    assert descended == pytest.approx(
        {
            "critics": (1 - wanted) ** 2 + (2 - wanted) ** 2,
            "actor": 0.2 * 0.5 - 1,
            "temperature": -math.log(0.2) * (0.5 - 2),
        }
    )


def test_it_remembers_the_least_relative_descent_and_learns_in_its_epochs(loss_scheme):
    scheme = agent(loss_scheme)
    steps(scheme, [[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
    scheme.close_epoch()
    start = [parameter.clone() for parameter in scheme.actor.parameters()]
    steps(scheme, [[0.9, 1.0, 4.4], [0.8, 0.9, 4.2]])
    first, second = scheme.transitions[:2]
    assert first.tolist()[:3] == [1.0, 2.0, 4.0]
    torch.testing.assert_close(first[6:9], torch.tensor([0.9, 1.0, 4.4]))
    torch.testing.assert_close(torch.stack([first[9], second[9]]), torch.tensor([-0.1, 0.05]))  # the third, both times
    assert any(not torch.equal(one, other) for one, other in zip(start, scheme.actor.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in scheme.parameters())


def test_its_memory_overwrites_the_oldest(loss_scheme):
    scheme = agent(loss_scheme, memory=2)
    steps(scheme, [[1.0, 1.0, 1.0]] * 2)
    scheme.close_epoch()
    steps(scheme, [[0.9, 0.9, 0.9], [0.8, 0.8, 0.8], [0.7, 0.7, 0.7]])
    torch.testing.assert_close(scheme.transitions[:, 6], torch.tensor([0.7, 0.8]))


def test_between_two_optimiser_steps_it_acts_once(loss_scheme):
    scheme = agent(loss_scheme)
    for value in ([1.0, 1.0, 1.0], [0.5, 0.5, 0.5]):
        for one in (value, [9.0, 9.0, 9.0]):  # two micro-batches, of which the second moves nothing
            leaves = {task: torch.tensor(x, requires_grad=True) for task, x in zip(scheme.tasks, one, strict=True)}
            scheme.backward(leaves, None, None, 0.5)
        scheme.close_step(dict)
    scheme.close_epoch()
    steps(scheme, [[0.4, 0.4, 0.4], [0.2, 0.2, 0.2]])
    torch.testing.assert_close(scheme.transitions[:2, 0], torch.tensor([0.5, 0.4]))
    torch.testing.assert_close(scheme.transitions[:2, 6], torch.tensor([0.4, 0.2]))
    assert int(scheme.seen_transitions) == 2


def test_it_resumes_bit_for_bit_while_it_learns(loss_scheme):
    losses = [[2.0 - 0.1 * step, 1.0 + 0.02 * step * (-1) ** step, 0.5] for step in range(10)]
    straight, broken = agent(loss_scheme), agent(loss_scheme)
    for number, values in enumerate(losses):
        steps(straight, [values])
        saved = io.BytesIO()
        torch.save(broken.state_dict(), saved)
        saved.seek(0)
        broken = agent(loss_scheme)
        broken.load_state_dict(torch.load(saved, weights_only=True))
        steps(broken, [values])
        if number % 2:
            straight.close_epoch()
            broken.close_epoch()
    assert int(straight.seen_transitions) == 8
    for one, other in zip(straight.parameters(), broken.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(straight.action, broken.action)
