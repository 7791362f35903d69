"""Statistics against hand-computed numbers, brute force and SciPy's own tests."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mtcp.analysis.statistics import (
    compare_family,
    conclude,
    detectable_effect,
    holm,
    holm_levels,
    image_bootstrap,
    least_n,
    probability_of_improvement,
    rope_posterior,
    sign_flip_p,
    spread,
    t_interval,
)

numbers = st.lists(st.integers(-50, 50).map(lambda whole: whole / 8), min_size=1, max_size=9)


def test_t_interval_by_hand():
    # mean 4, s 2, n 3: half width 4.302653 * 2 / sqrt(3); of two values, mean 1, s sqrt(2): 12.706205
    assert spread([2, 4, 6]) == 2
    assert t_interval([2, 4, 6]) == pytest.approx((4 - 4.9682754, 4 + 4.9682754), abs=1e-6)
    assert t_interval([0, 2]) == pytest.approx((1 - 12.706205, 1 + 12.706205), abs=1e-6)
    assert np.isnan(t_interval([1.0])).all()
    assert np.isnan(spread([1.0]))
    assert spread([0.0556456983] * 3) == 0


@given(numbers)
def test_sign_flip_p_equals_enumeration(x):
    sums = [abs(np.dot(signs, x)) for signs in product((-1, 1), repeat=len(x))]
    expected = np.mean([total >= abs(sum(x)) for total in sums])
    assert sign_flip_p(x) == expected
    # A third is rounded: sums that are equal differ in the last bit, whatever the unit.
    assert [sign_flip_p(scale * np.array(x) / 3) for scale in (1e-6, 1e6)] == [expected, expected]


@pytest.mark.parametrize("n", [1, 3, 6, 9, 16])
def test_sign_flip_p_is_smallest_where_all_agree(n):
    assert sign_flip_p(np.linspace(1, 2, n)) == 2 / 2**n


def test_sign_flip_p_agrees_with_scipy_for_many_seeds():
    x = np.random.default_rng(3).normal(0.3, 1, 14)
    exact = stats.permutation_test((x,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip_p(x) == pytest.approx(exact)


def test_sign_flip_p_refuses_no_seed():
    with pytest.raises(ValueError, match="got 0"):
        sign_flip_p([])


def test_sign_flip_p_draws_patterns_where_there_are_too_many_to_count():
    x = np.random.default_rng(3).normal(0.25, 1, 60)
    normal = 2 * stats.norm.sf(abs(x.sum()) / np.sqrt((x**2).sum()))  # the sums' limit
    assert sign_flip_p(x) == sign_flip_p(x) == pytest.approx(normal, rel=0.05)
    assert 0 < sign_flip_p(np.ones(41)) < 1e-5


def test_probability_of_improvement_counts_ties_half():
    assert probability_of_improvement([1, -1, 0, 2]) == 0.625


def test_rope_posterior_by_hand():
    # mean 2, s / sqrt(n) = 0.577350, two degrees of freedom
    better, equal, worse = rope_posterior([1, 2, 3], 0.5)
    assert better == pytest.approx(stats.t.sf((0.5 - 2) / 0.57735027, 2))
    assert worse == pytest.approx(stats.t.cdf((-0.5 - 2) / 0.57735027, 2))
    assert better + equal + worse == pytest.approx(1)
    assert rope_posterior([0.1, 0.1], 0.5) == (0, 1, 0)
    assert np.isnan(rope_posterior([1.0], 0.5)).all()


@given(numbers.filter(lambda x: len(x) > 1), st.floats(0.01, 3))
def test_rope_posterior_is_a_distribution_and_mirrors(x, rope):
    better, equal, worse = rope_posterior(x, rope)
    assert better + equal + worse == pytest.approx(1)
    assert rope_posterior([-value for value in x], rope) == pytest.approx((worse, equal, better), abs=1e-9)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])


def test_holm_levels_are_strict_for_ties():
    expected = [1 - 0.05 / 3, 1 - 0.05 / 2, 1 - 0.05 / 2]
    assert holm_levels([0.001, 0.25, 0.25], [False] * 3) == pytest.approx(expected)


def test_equivalence_is_judged_at_the_strictest_level():
    """Holm's steps order by evidence for a difference: what is nearest to zero would get 95 %."""
    assert holm_levels([0.001, 0.25, 0.9], [False, False, True]) == pytest.approx([1 - 0.05 / 3, 0.975, 1 - 0.05 / 3])
    far, near = np.linspace(5, 6, 8), np.linspace(-0.2, 0.3, 8)
    rows = compare_family([far, far + 1, near], [1.0] * 3)
    assert rows[2].holm_level == pytest.approx(1 - 0.05 / 3) and rows[2].conclusion == "equivalent"
    assert (rows[2].holm_low, rows[2].holm_high) == pytest.approx(t_interval(near, 1 - 0.05 / 3))


@pytest.mark.parametrize(("family", "n"), [(1, 6), (2, 7), (4, 8), (8, 9), (16, 10)])
def test_least_n_of_the_protocol(family, n):
    assert least_n(family) == n
    assert 2 / 2**n <= 0.05 / family < 2 / 2 ** (n - 1)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_detectable_effect_has_the_power_it_says(n):
    effect = detectable_effect(2.0, n)
    rng = np.random.default_rng(0)
    samples = rng.normal(effect, 2.0, (20_000, n))
    p = stats.ttest_1samp(samples, 0, axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.01)
    assert np.isnan(detectable_effect(2.0, 1))


def test_image_bootstrap_covers_and_pairs():
    values = np.random.default_rng(1).normal(5, 2, 400)
    draws = image_bootstrap(lambda chosen: values[chosen].mean(), 400, 500, seed=7)
    assert draws.std() == pytest.approx(values.std() / 20, rel=0.15)
    again = image_bootstrap(lambda chosen: values[chosen].mean(), 400, 500, seed=7)
    assert (draws == again).all()


@pytest.mark.parametrize(
    ("low", "high", "enough", "apart", "said"),
    [
        (1.1, 3, True, True, "better"), (-3, -1.1, True, True, "worse"), (-0.9, 1, True, False, "equivalent"),
        (0.5, 2, True, True, "inconclusive"), (1.1, 3, False, True, "inconclusive"),
        (1.1, 3, True, False, "inconclusive"), (-3, -1.1, True, False, "inconclusive"),
        (float("nan"), float("nan"), True, True, "inconclusive"),
    ],
)  # fmt: skip
def test_conclude(low, high, enough, apart, said):
    assert conclude(low, high, rope=1.0, enough=enough, apart=apart) == said


def test_a_difference_needs_the_exact_test_beside_the_interval():
    x = np.array([3.0, 3.1, 2.9, 3.0, 3.0, 3.1, 2.9, -0.1])  # one seed disagrees: p = 4 / 256, m = 5 asks for 0.01
    row = compare_family([x, *[[]] * 4], [0.0] * 5)[0]
    assert row.holm_low > 0
    assert (row.p_holm, row.conclusion) == (pytest.approx(5 * 4 / 256), "inconclusive")


def test_family_never_concludes_below_the_least_n():
    same = [np.full(3, 10.0) + np.arange(3) / 100] * 2
    assert {row.conclusion for row in compare_family(same, [1.0, 1.0])} == {"inconclusive"}
    enough = [np.full(7, 10.0) + np.arange(7) / 100] * 2
    assert [(row.conclusion, row.least_n) for row in compare_family(enough, [1.0, 1.0])] == [("better", 7)] * 2


def test_a_comparison_without_seeds_counts_for_holm():
    alone = compare_family([np.arange(1.0, 8)], [0.1])[0]
    beside = compare_family([np.arange(1.0, 8), []], [0.1, 0.1])
    assert beside[0].p_holm == 2 * alone.p_holm == pytest.approx(4 / 2**7)
    assert (beside[1].n, beside[1].conclusion) == (0, "inconclusive")
    assert np.isnan(beside[1].improvement)


def test_deterministic_quantities_need_no_seeds():
    row = compare_family([[40.0]], [5.0], deterministic=True)[0]
    assert (row.conclusion, row.least_n, row.holm_low) == ("better", 1, 40.0)
