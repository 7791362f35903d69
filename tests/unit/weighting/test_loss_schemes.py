"""Loss-level schemes against closed forms, torchjd's scalarisers and the properties their papers claim."""

import math

import pytest
import torch
from torchjd import scalarization

from mtcp.core.errors import UserError
from mtcp.core.plugins import parameters

VALUES = [0.5, 2.0, 4.0]


def library_weights(scalariser, values):
    leaves = torch.tensor(values, requires_grad=True)
    scalariser(leaves).backward()
    return leaves.grad


def close(got, wanted):
    torch.testing.assert_close(got, torch.as_tensor(wanted, dtype=got.dtype), rtol=1e-5, atol=1e-6)


def test_equal(loss_scheme, effective):
    close(effective(loss_scheme("equal"), VALUES), [1.0, 1.0, 1.0])


def test_fixed(loss_scheme, effective):
    close(effective(loss_scheme("fixed", weights={"a": 1, "b": 0.5, "c": 3}), VALUES), [1, 0.5, 3])
    close(effective(loss_scheme("fixed", weights={"a": 0.1, "b": 0, "c": -0.2}), VALUES), [0.1, 0, -0.2])


def test_fixed_needs_every_task(loss_scheme):
    with pytest.raises(UserError, match="one weight for each of a, b, c, got a, d"):
        loss_scheme("fixed", weights={"a": 1, "d": 2})


def test_uncertainty_is_twice_the_library_with_half_its_regulariser(loss_scheme, effective):
    scheme, library = loss_scheme("uncertainty"), scalarization.UW(3)
    s = torch.tensor([-1.0, 0.0, 0.7])
    scheme.log_weight.data = -s
    library.log_var.data = s.clone()
    close(effective(scheme, VALUES), 2 * library_weights(library, VALUES))
    close(scheme.log_weight.grad, torch.exp(-s) * torch.tensor(VALUES) - 0.5)


def test_imtl_l_equals_the_library(loss_scheme, effective):
    scheme, library = loss_scheme("imtl_l"), scalarization.IMTLL(3)
    scheme.log_weight.data = torch.tensor([0.3, -0.2, 1.0])
    library.log_scale.data = scheme.log_weight.data.clone()
    close(effective(scheme, VALUES), library_weights(library, VALUES))
    close(scheme.log_weight.grad, library.log_scale.grad)


@pytest.mark.parametrize(("name", "rate", "balance"), [("uncertainty", 0.5, 0.5), ("imtl_l", 0.25, 1.0)])
def test_weights_settle_where_every_weighted_loss_is_equal(name, rate, balance, loss_scheme, effective):
    scheme = loss_scheme(name)
    optimiser = torch.optim.SGD(scheme.parameters(), rate)
    for _ in range(80):
        optimiser.zero_grad()
        weights = effective(scheme, VALUES)
        optimiser.step()
    close(weights, [balance / value for value in VALUES])


@pytest.mark.parametrize(("name", "balance"), [("uncertainty", 0.5), ("imtl_l", 1.0)])
def test_learned_weights_reach_their_optimum_within_an_epoch_at_their_own_rate(name, balance, loss_scheme, effective):
    scheme = loss_scheme(name)
    for _ in range(300):
        weights = effective(scheme, VALUES)
        scheme.close_step(dict)
    torch.testing.assert_close(weights, balance / torch.tensor(VALUES), rtol=0.05, atol=0)
    scheme.close_epoch()
    assert scheme.flags() == []


def test_learned_weights_that_do_not_get_there_are_flagged(loss_scheme, effective):
    scheme = loss_scheme("imtl_l", rate=1e-5)
    for _ in range(20):
        effective(scheme, VALUES)
        scheme.close_step(dict)
    scheme.close_epoch()
    assert "weights_far_from_optimum" in scheme.flags()


def test_learned_weights_may_be_solved_for_each_epoch(loss_scheme, effective):
    scheme = loss_scheme("uncertainty", solve="each_epoch")
    close(effective(scheme, VALUES), [1.0, 1.0, 1.0])
    effective(scheme, [3 * value for value in VALUES])
    scheme.close_step(dict)
    scheme.close_epoch()
    close(effective(scheme, [9.0, 9.0, 9.0]), [0.5 / (2 * value) for value in VALUES])


@pytest.mark.parametrize(("name", "state"), [("uncertainty", "log_weight"), ("imtl_l", "log_weight"),
                                             ("famo", "logits")])  # fmt: skip
def test_ten_steps_without_a_task_leave_what_is_learned_of_it_as_it_is(name, state, loss_scheme, effective):
    scheme = loss_scheme(name)

    def step(values):
        effective(scheme, values)
        after = {t: torch.tensor(v - 0.1) for t, v in zip("abc", values, strict=True) if v}
        scheme.close_step(lambda: after)

    for _ in range(5):
        step(VALUES)
    before = getattr(scheme, state).detach().clone()
    for _ in range(10):
        step([VALUES[0], None, VALUES[2]])
    after = getattr(scheme, state).detach()
    assert after[1] == before[1]
    assert after[2] != before[2]


def test_dwa_equals_the_library_over_epochs(loss_scheme, effective):
    scheme, library = loss_scheme("dwa", temperature=1.5), scalarization.DWA(1.5)
    for epoch in range(5):
        for step in range(3):
            values = [value * (1 + 0.1 * math.sin(7 * epoch + 3 * step + i)) for i, value in enumerate(VALUES)]
            close(effective(scheme, values), library_weights(library, values))
        scheme.close_epoch()
        library.step()
    assert scheme.record()["weight_a"] != 1.0


def test_dwa_absent_task_counts_with_ratio_1(loss_scheme, effective):
    scheme = loss_scheme("dwa", tasks=2, temperature=1.0)
    for values in ([1.0, 1.0], [0.5, None]):
        effective(scheme, values)
        scheme.close_epoch()
    a, b = math.exp(0.5), math.exp(1.0)
    close(effective(scheme, [1.0, 1.0]), [2 * a / (a + b), 2 * b / (a + b)])


def test_gls_is_the_geometric_mean(loss_scheme, effective):
    close(effective(loss_scheme("gls"), VALUES), 3 * library_weights(scalarization.GeometricMean(), VALUES))


def test_gls_contributes_alike_whatever_the_unit(loss_scheme, effective):
    weights = effective(loss_scheme("gls"), VALUES)
    contributions = weights * torch.tensor(VALUES)
    close(contributions, [contributions[0]] * 3)


@pytest.mark.parametrize("name", ["scale_invariant", "gls"])
def test_scaling_one_loss_changes_no_relative_contribution(name, loss_scheme, effective):
    one = effective(loss_scheme(name), VALUES) * torch.tensor(VALUES)
    scaled = [100 * VALUES[0], *VALUES[1:]]
    other = effective(loss_scheme(name), scaled) * torch.tensor(scaled)
    close(one / one.sum(), other / other.sum())


def test_scale_invariant_weights_are_reciprocals(loss_scheme, effective):
    close(effective(loss_scheme("scale_invariant"), VALUES), [2.0, 0.5, 0.25])


def test_uw_so_closed_form(loss_scheme, effective):
    logits = torch.tensor([1 / (value * 2.0) for value in VALUES])
    close(effective(loss_scheme("uw_so", temperature=2.0), VALUES), 3 * torch.softmax(logits, 0))


def test_uw_so_temperature_leads_to_equal_weights(loss_scheme, effective):
    close(effective(loss_scheme("uw_so", temperature=1e6), VALUES), [1.0, 1.0, 1.0])


def test_dtp_closed_form_and_running_mean(loss_scheme, effective):
    scheme = loss_scheme("dtp", alpha=0.25, gamma=2.0)

    def weights(indicators):
        return [-((1 - k) ** 2) * math.log(k) for k in indicators]

    first = [math.exp(-value) for value in VALUES]
    close(effective(scheme, VALUES), weights(first))
    mixed = [0.25 * math.exp(-2 * value) + 0.75 * k for value, k in zip(VALUES, first, strict=True)]
    close(effective(scheme, [2 * value for value in VALUES]), weights(mixed))


def test_dtp_puts_hard_tasks_first(loss_scheme, effective):
    weights = effective(loss_scheme("dtp"), VALUES)
    assert weights.tolist() == sorted(weights.tolist())


def test_stch_equals_the_library_after_its_first_epoch(loss_scheme, effective):
    scheme = loss_scheme("stch", compared="ratio", mu=0.3, warmup_epochs=1)
    close(effective(scheme, VALUES), [1.0, 1.0, 1.0])
    scheme.close_epoch()
    library = scalarization.STCH(0.3, weights=1 / torch.tensor(VALUES))
    later = [0.4, 2.1, 1.0]
    close(effective(scheme, later), 3 * library_weights(library, later))


def test_stch_by_default_warms_up_on_logarithms_and_compares_their_ratios(loss_scheme, effective):
    """The authors' code for networks: five epochs of the sum of logarithms, then mu 1 on log ratios."""
    scheme = loss_scheme("stch")
    for epoch in range(5):
        close(effective(scheme, [value * (1 + epoch) for value in VALUES]), [1 / (v * (1 + epoch)) for v in VALUES])
        scheme.close_epoch()
    ratios = torch.tensor([0.8, 2.1, 1.0]) / (5 * torch.tensor(VALUES))
    later = torch.tensor([0.8, 2.1, 1.0])
    close(effective(scheme, later.tolist()), 3 * torch.softmax(ratios.log(), 0) / later)


def test_stch_small_mu_descends_the_worst_alone(loss_scheme, effective):
    scheme = loss_scheme("stch", compared="ratio", mu=1e-3, warmup_epochs=1)
    effective(scheme, [1.0, 1.0, 1.0])
    scheme.close_epoch()
    close(effective(scheme, [0.5, 0.9, 0.7]), [0.0, 3.0, 0.0])


def test_famo_equals_the_library_over_steps(loss_scheme, effective):
    scheme, library = loss_scheme("famo", rate=0.1, decay=0.01), scalarization.FAMO(3, lr=0.1, weight_decay=0.01)
    values = torch.tensor(VALUES)
    for step in range(20):
        close(effective(scheme, values.tolist()), 3 * library_weights(library, values.tolist()))
        new = values * torch.tensor([0.95, 0.99, 1.0 + 0.01 * (step % 3)])
        scheme.close_step(lambda new=new: dict(zip(scheme.tasks, new, strict=True)))
        library.update(new)
        values = new
    torch.testing.assert_close(scheme.logits, library._w.data, rtol=1e-4, atol=1e-6)
    assert scheme.logits[0] < scheme.logits[1]


def test_famo_leaves_an_absent_task_out_of_the_comparison(loss_scheme, effective):
    scheme = loss_scheme("famo", decay=0.0)
    effective(scheme, [1.0, 1.0, None])
    scheme.close_step(lambda: {"a": torch.tensor(0.5), "b": torch.tensor(1.0), "c": torch.tensor(9.0)})
    assert scheme.logits[2] == 0
    assert scheme.logits[0] < 0 < scheme.logits[1]


@pytest.mark.slow
@pytest.mark.parametrize("distribution", ["normal", "dirichlet"])
def test_rlw_in_distribution(distribution, loss_scheme, effective):
    scheme = loss_scheme("rlw", distribution=distribution)
    draws = []
    for scheme.optimiser_steps in range(3000):
        draws.append(effective(scheme, VALUES))
    draws = torch.stack(draws).double()
    torch.testing.assert_close(draws.sum(1), torch.full((3000,), 3.0, dtype=torch.float64), rtol=1e-5, atol=1e-5)
    assert (draws > 0).all()
    torch.testing.assert_close(draws.mean(0), torch.ones(3, dtype=torch.float64), atol=0.06, rtol=0)
    if distribution == "dirichlet":  # a weight is 3 Beta(1, 2): variance 9 * 2 / (9 * 4)
        torch.testing.assert_close(draws.var(0), torch.full((3,), 0.5, dtype=torch.float64), atol=0.06, rtol=0)
    else:  # torch's own softmax of normal numbers
        other = 3 * torch.softmax(torch.randn(200_000, 3, generator=torch.Generator().manual_seed(1)), 1)
        torch.testing.assert_close(draws.var(0), other.var(0).double(), atol=0.06, rtol=0)


def test_rlw_draws_depend_on_seed_and_step_alone(loss_scheme, effective):
    one, other = loss_scheme("rlw"), loss_scheme("rlw")
    first = effective(one, VALUES)
    close(effective(one, VALUES), first)  # micro-batches of one step
    one.close_step(dict)
    assert not torch.allclose(effective(one, VALUES), first)
    other.optimiser_steps = 1
    close(effective(one, VALUES), effective(other, [9.0, 9.0, 9.0]))


@pytest.mark.parametrize(
    "name", ["equal", "uncertainty", "gls", "scale_invariant", "imtl_l", "uw_so", "dtp", "stch", "lps", "dwa", "famo"]
)
def test_task_order_does_not_matter_and_identical_tasks_weigh_the_same(name, loss_scheme, effective):
    one, other = loss_scheme(name), loss_scheme(name)
    for values in ([0.5, 2.0, 2.0], [0.4, 1.0, 1.0], [0.3, 0.9, 0.9]):
        weights = effective(one, values)
        close(effective(other, values[::-1]), weights.flip(0))
        close(weights[1:2], weights[2:])
        one.close_epoch()
        other.close_epoch()


@pytest.mark.parametrize(
    ("name", "given", "key"),
    [
        ("lps", {"kappa": -1}, "kappa"),
        ("dwa", {"temperature": 0}, "temperature"),
        ("rlw", {"distribution": "cauchy"}, "distribution"),
        ("equal", {"weights": 3}, "weights"),
        ("fixed", {}, "weights"),
        ("pcgrad", {"shared_parameters": "decoder"}, "shared_parameters"),
        ("graddrop", {"shared_parameters": "representation"}, "shared_parameters"),
        ("cagrad", {"c": -0.1}, "c"),
    ],
)
def test_parameters_out_of_bounds_are_named(name, given, key):
    with pytest.raises(UserError, match=f"scheme '{name}', key '{key}'"):
        parameters("scheme", name, given)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("amtl", {"potential": {"a": 0}}, "greater than 0"),
        ("amtl", {"potential": {"a": 1.2}}, "less than or equal to 1"),
        ("pivrg", {"alone": {"a": -1}}, "greater than 0"),
        ("fixed", {"weights": {"a": 0, "b": -1, "c": 0}}, "no task has a positive weight"),
    ],
)
def test_a_number_by_task_that_means_nothing_is_refused(name, given, message, loss_scheme):
    with pytest.raises(UserError, match=message):
        loss_scheme(name, **given)
