"""What holds for every scheme: it trains, resumes bit for bit, copes with absent tasks, and shows signs of life."""

import io
import math
import re
import sys

import pytest
import torch

from mtcp.core import plugins
from mtcp.core.errors import UserError
from mtcp.weighting.base import Diverged, LossScheme
from mtcp.weighting.gradients import GramianScheme

ALL = sorted(plugins.find("scheme"))
GRADIENT = [name for name in ALL if plugins.load("scheme", name).cost == "gradients"]
GRAMIAN = [name for name in GRADIENT if issubclass(plugins.load("scheme", name), GramianScheme)]


def test_there_are_enough():
    assert len(ALL) >= 40


@pytest.mark.parametrize("name", ALL)
def test_declares_what_readers_need(name):
    cls = plugins.load("scheme", name)
    assert cls.cost in ("losses", "gradients", "forward")
    assert "Caveat: " in cls.__doc__
    assert all(field.description for field in cls.Parameters.model_fields.values())
    assert issubclass(cls, LossScheme) == (cls.cost != "gradients")


@pytest.mark.parametrize("name", ALL)
def test_lives(name, bench):
    run = bench(name)
    before = run.step(0, auxiliary=True)
    for step in range(1, 12):
        after = run.step(0, auxiliary=True)
        if step % 3 == 2:
            run.scheme.close_epoch()
    assert sum(after.values()) < sum(before.values())
    record = run.scheme.record()
    assert [name for name in record if name.startswith("weight_")] == [f"weight_{task}" for task in run.context.tasks]
    # Losses outside of a scheme that sees loss values alone: the share is known where gradients are looked at.
    assert all(math.isfinite(value) for name, value in record.items() if name != "scheme_share")
    assert "stayed_equal" not in run.scheme.flags()
    assert "runaway_weights" not in run.scheme.flags()


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_resumes_bit_for_bit_after_any_step(name, bench):
    straight, history = bench(name), []
    for step in range(7):
        straight.step(step, absent=("depth",) if step == 1 else ())
        if step % 2 == 1:
            straight.scheme.close_epoch()
            history.append(straight.scheme.record())
    broken = bench(name)
    records = []
    for step in range(7):
        saved = io.BytesIO()
        torch.save(vars(broken.state()), saved)
        saved.seek(0)
        broken = bench(name)
        broken.load(type(broken.state())(**torch.load(saved, weights_only=True)))
        broken.step(step, absent=("depth",) if step == 1 else ())
        if step % 2 == 1:
            broken.scheme.close_epoch()
            records.append(broken.scheme.record())
    assert repr(records) == repr(history)
    for one, other in zip(straight.network.parameters(), broken.network.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ALL)
def test_a_task_may_be_absent_from_a_step_from_an_epoch_and_from_the_start(name, bench):
    run = bench(name)
    for step in range(8):
        run.step(step, absent={0: ("depth",), 1: ("depth",), 4: ("semseg", "normals"), 5: ("normals",)}.get(step, ()))
        if step % 2:
            run.scheme.close_epoch()
    assert all(torch.isfinite(parameter).all() for parameter in run.network.parameters())


@pytest.mark.parametrize("name", ALL)
def test_gradients_scale_with_the_accumulation(name, bench):
    whole, half = bench(name).gradients(auxiliary=True), bench(name).gradients(scale=0.5, auxiliary=True)
    assert whole.keys() == half.keys()
    for key, gradient in whole.items():
        torch.testing.assert_close(gradient, 2 * half[key], msg=key)


@pytest.mark.parametrize("name", ALL)
def test_parameters_that_nothing_reaches_get_no_gradient(name, bench):
    assert not {"unused.weight", "unused.bias"} & bench(name).gradients().keys()


@pytest.mark.parametrize("name", ALL)
def test_auxiliary_losses_are_added_unweighted(name, bench):
    with_, without = bench(name).gradients(auxiliary=True), bench(name).gradients()
    run = bench("equal")
    losses, _ = run.losses(0)
    (0.5 * sum(losses.values()) ** 2).backward()
    for key, parameter in run.network.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(with_[key] - without[key], parameter.grad, rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.parametrize("name", ALL)
def test_a_nan_loss_ends_in_a_sentence_with_scheme_task_and_step(name, bench):
    run = bench(name)
    run.step(0)
    losses, representation = run.losses(1)
    losses["depth"] = losses["depth"] * torch.nan
    with pytest.raises(Diverged, match=rf"scheme '{name}', task 'depth', step 1: the loss is nan"):
        run.scheme.backward(losses, None, representation, 1.0)


@pytest.mark.parametrize("name", ["gls", "scale_invariant", "uw_so", "famo", "db_mtl"])
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_logarithmic_schemes_refuse_losses_that_are_not_positive(name, value, bench):
    run = bench(name)
    losses, representation = run.losses(0)
    losses["depth"] = losses["depth"] * 0 + value
    with pytest.raises(Diverged, match=rf"scheme '{name}', task 'depth', step 0: the loss is {value}"):
        run.scheme.backward(losses, None, representation, 1.0)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_loss_that_is_zero_or_negative_does_no_harm_or_ends_in_a_sentence(name, value, bench):
    run = bench(name)
    try:
        for step in range(6):
            losses, representation = run.losses(step)
            losses["depth"] = losses["depth"] * 0 + value
            run.scheme.backward(losses, None, representation, 1.0)
            run.optimiser.step()
            run.optimiser.zero_grad()
            if step % 2:
                run.scheme.close_epoch()
    except Diverged as diverged:
        assert re.match(rf"scheme '{name}', (task '\w+', )?step \d", str(diverged))
    assert all(torch.isfinite(parameter).all() for parameter in run.network.parameters())


@pytest.mark.parametrize("name", ["uncertainty", "famo", "rlw", "pcgrad", "graddrop", "gradvac", "nash_mtl"])
def test_two_runs_of_one_seed_are_equal(name, bench):
    one, other = bench(name), bench(name)
    for step in range(3):
        torch.manual_seed(step)
        one.step(step)
        torch.manual_seed(100 + step)
        other.step(step)
    for first, second in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(first, second)


def test_no_scheme_reaches_another(bench):
    """Adding a scheme must change no other method's key: no module of a scheme imports another scheme's."""
    import ast
    from pathlib import Path

    for name in ALL:
        path = Path(sys.modules[plugins.load("scheme", name).__module__].__file__)
        imported = [node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not [module for module in imported if module and module.startswith("baselines")], path


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("amtl", "potential", {"semseg": 0.5, "depht": 0.4}),
        ("pivrg", "alone", {"depht": 1.0}),
        ("pcd", "primary", "depht"),
    ],
)
def test_a_parameter_that_names_no_task_is_refused(name, key, value, bench):
    with pytest.raises(UserError, match=f"scheme '{name}', parameter '{key}': 'depht' is none of the tasks"):
        bench(name, **{key: value})
