"""The optimiser of a scheme's own parameters against torch's Adam, one for every row."""

import torch
from torch import nn

from mtcp.weighting.learning import OwnAdam

SHAPES = {"a number a task": (3,), "a row a task": (3, 4), "of no task": (5,), "square": (2, 2), "scalar": ()}
#: Which of three tasks take part in each step.
PRESENT = [[True, True, True], [True, False, True], [False, False, True], [True, True, True]]


def test_rows_of_tasks_that_take_part_have_adams_updates_and_others_none() -> None:
    torch.manual_seed(0)
    own = {name: nn.Parameter(torch.randn(shape)) for name, shape in SHAPES.items()}
    # The same values as parameters of their own: one a task, or one for all.
    alone = {
        name: [nn.Parameter(part.clone()) for part in (value.detach() if name.endswith("a task") else value[None])]
        for name, value in own.items()
    }
    rivals = {name: [torch.optim.Adam([part], lr=0.1) for part in parts] for name, parts in alone.items()}
    optimiser = OwnAdam()
    for present in PRESENT:
        for name, parameter in own.items():
            parameter.grad = torch.randn_like(parameter)
            gradients = parameter.grad if name.endswith("a task") else parameter.grad[None]
            taking_part = present if name.endswith("a task") else [True]
            for part, rival, gradient, takes in zip(alone[name], rivals[name], gradients, taking_part, strict=True):
                if takes:
                    part.grad = gradient.clone()
                    rival.step()
        optimiser.step(own.items(), 0.1, torch.tensor(present))
        for name, parameter in own.items():
            assert parameter.grad is None
            expected = torch.stack([part.detach() for part in alone[name]]).view_as(parameter)
            torch.testing.assert_close(parameter.detach(), expected, msg=f"{name}, {present}")


def test_a_parameter_without_a_gradient_stays() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimiser = OwnAdam()
    optimiser.step([("w", parameter)], 0.1, torch.ones(3, dtype=torch.bool))
    assert parameter.tolist() == [1, 1, 1]
    assert optimiser.state() == {}
