"""Gradients of a step's micro-batches: combined once a step, or each by itself."""

import dataclasses

import pytest
import torch

from mtcp.core import plugins
from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.weighting.base import build_scheme

GRADIENT = [name for name in sorted(plugins.find("scheme")) if plugins.load("scheme", name).cost == "gradients"]
SHARED = ("stem.0.weight", "stem.0.bias", "stem.1.weight", "stem.1.bias")


def accumulated(run, steps, absent=()):
    """Gradients after the micro-batches `steps`, which make one optimiser step."""
    for number, step in enumerate(steps):
        losses, representation = run.losses(step, absent[number] if absent else ())
        run.scheme.backward(losses, None, representation, 1 / len(steps), number + 1 == len(steps))
    return {n: p.grad.clone() for n, p in run.network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", GRADIENT)
def test_a_batch_in_two_halves_is_combined_as_one_of_their_mean_gradient(name, bench):
    """Twice the same micro-batch: the step is the one of that batch, as nothing else differs."""
    run = bench(name)
    run.scheme.steps = 1  # random draws belong to the micro-batch in which gradients are combined
    whole, halves = accumulated(run, [0]), accumulated(bench(name), [0, 0])
    for key in SHARED:
        torch.testing.assert_close(halves[key], whole[key], rtol=1e-4, atol=1e-6, msg=key)


def test_one_combination_a_step_is_not_the_sum_of_combinations(bench):
    step, each = bench("mgda"), bench("mgda", accumulation="micro_batch")
    one, other = accumulated(step, [0, 1]), accumulated(each, [0, 1])
    assert not torch.allclose(one["stem.0.weight"], other["stem.0.weight"], rtol=1e-3)
    # By hand: the Jacobian's mean over the micro-batches, combined once.
    rows = []
    for number in (0, 1):
        plain = bench("equal")
        losses, _ = plain.losses(number)
        shared = [dict(plain.network.named_parameters())[key] for key in SHARED]
        rows.append(torch.stack([torch.cat([g.flatten() for g in torch.autograd.grad(loss, shared, retain_graph=True)])
                                 for loss in losses.values()]))  # fmt: skip
    mean = sum(rows) / 2
    wanted, _ = bench("mgda").scheme.combined(mean, (mean @ mean.T).double(), torch.ones(3), torch.arange(3))
    torch.testing.assert_close(torch.cat([one[key].flatten() for key in SHARED]), wanted, rtol=1e-4, atol=1e-6)
    # All other parameters get the gradient of the plain sum either way.
    for key, gradient in accumulated(bench("equal"), [0, 1]).items():
        if key not in SHARED:
            torch.testing.assert_close(one[key], gradient, msg=key)
            torch.testing.assert_close(other[key], gradient, msg=key)


def test_a_task_absent_from_one_micro_batch_counts_in_the_step(bench):
    run = bench("pcgrad")
    accumulated(run, [0, 1], absent=[("depth",), ()])
    run.scheme.close_step(dict)
    run.scheme.close_epoch()
    assert run.scheme.record()["weight_depth"] > 0


def test_a_step_whose_last_micro_batch_has_no_task_is_combined_all_the_same(bench):
    run, plain = bench("mgda"), bench("mgda")
    losses, representation = run.losses(0)
    run.scheme.backward(losses, None, representation, 0.5, boundary=False)
    run.scheme.backward({}, None, None, 0.5, boundary=True)
    wanted = plain.gradients(0, scale=0.5)
    torch.testing.assert_close(run.network.stem[0].weight.grad, wanted["stem.0.weight"])


@pytest.mark.parametrize("name", ["gradnorm", "famo"])
def test_weights_that_move_by_steps_move_once_a_step(name, bench):
    run = bench(name)
    state = "task_weights" if name == "gradnorm" else "logits"
    before = getattr(run.scheme, state).detach().clone()
    for number in (0, 1):
        losses, representation = run.losses(number)
        run.scheme.backward(losses, None, representation, 0.5, boundary=number == 1)
        assert torch.equal(getattr(run.scheme, state), before)
    with torch.no_grad():
        run.scheme.close_step(lambda: {task: 0.9 * loss**1.1 for task, loss in run.losses(1)[0].items()})
    assert not torch.equal(getattr(run.scheme, state), before)


@pytest.mark.parametrize("name", ["equal", "pcgrad", "mgda"])
def test_the_share_of_the_update_that_a_scheme_decides_does_not_depend_on_accumulation(name, bench):
    """Twice the same micro-batch, with losses that bypass the scheme."""
    shares = []
    for batches in (1, 2, 4):
        run = bench(name)
        run.scheme.context = dataclasses.replace(run.scheme.context, diagnostics_every=1)
        for number in range(batches):
            losses, representation = run.losses(0)
            run.scheme.backward(
                losses, 0.5 * sum(losses.values()) ** 2, representation, 1 / batches, number + 1 == batches
            )
        run.scheme.close_step(dict)
        run.scheme.close_epoch()
        shares.append(run.scheme.record()["scheme_share"])
    assert 0 < shares[0] < 1
    assert shares == pytest.approx([shares[0]] * 3, rel=1e-4)


def test_a_task_of_an_earlier_combination_in_the_step_keeps_its_move_under_gradnorm(bench):
    run = bench("gradnorm", accumulation="micro_batch", rate=0.1)
    for number, absent in enumerate([(), ("depth",)]):
        losses, representation = run.losses(number, absent)
        run.scheme.backward(losses, None, representation, 0.5, boundary=number == 1)
    depth = run.scheme.tasks.index("depth")
    moved = float(run.scheme.moved[depth])
    assert moved != 1.0


def test_one_combination_a_step_is_refused_at_the_representation(root, bench):
    config = Project(root).resolve("rooms", "mgda", 0)
    chosen = config.model_copy(
        update={
            "scheme": config.scheme.model_copy(update={"shared_parameters": "representation"}),
            "training": config.training.model_copy(update={"accumulate": 4}),
        }
    )
    with pytest.raises(UserError, match="set `accumulation: micro_batch`, or `shared_parameters: encoder`"):
        build_scheme(chosen, bench("equal").context)
