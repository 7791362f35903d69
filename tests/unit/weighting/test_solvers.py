"""The k x k solvers against exact enumeration and optimality conditions, at ratios of the gradients' lengths to 1e6."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtcp.weighting import solvers

SIZES = st.integers(2, 8)
SMALL = st.integers(2, 6)
SEEDS = st.integers(0, 10_000)
MAGNITUDES = st.floats(-6, 6)
RATIOS = st.floats(0, 6)
SHIFTS = st.sampled_from([-0.4, 0.0, 0.4])


def gradients(seed: int, tasks: int, ratio: float, magnitude: float = 0.0, shift: float = 0.0) -> np.ndarray:
    """Return J (k, 2 k) in float64 whose lengths spread over `ratio` powers of ten."""
    draws = np.random.default_rng(seed)
    directions = draws.normal(size=(tasks, 2 * tasks)) + shift
    powers = draws.uniform(-ratio, 0, size=tasks)
    powers[:2] = 0, -ratio
    return directions / np.linalg.norm(directions, axis=1, keepdims=True) * 10.0 ** (powers[:, None] + magnitude)


def unit(jacobian):
    return jacobian / np.linalg.norm(jacobian, axis=1, keepdims=True)


def supports(tasks):
    return (list(chosen) for size in range(tasks + 1) for chosen in itertools.combinations(range(tasks), size))


def shortest_by_enumeration(jacobian):
    """Return the weights of the shortest vector of the hull: the best face whose own minimum has weights >= 0."""
    best, least = None, np.inf
    for chosen in supports(len(jacobian)):
        if not chosen:
            continue
        rows = jacobian[chosen]
        # The minimum over the affine hull of unequal lengths, solved for unit rows.
        lengths = np.linalg.norm(rows, axis=1)
        solved = np.linalg.solve(unit(rows) @ unit(rows).T, 1 / lengths) / lengths
        weights = solved / solved.sum()
        if (weights >= 0).all() and np.linalg.norm(weights @ rows) < least:
            best, least = np.zeros(len(jacobian)), np.linalg.norm(weights @ rows)
            best[chosen] = weights
    return best


def projection_by_enumeration(jacobian, vector):
    """Return the nearest vector without conflict: the projection onto the face whose multipliers are >= 0."""
    rows = unit(jacobian)
    for chosen in supports(len(rows)):
        own = rows[chosen]
        multipliers = -np.linalg.solve(own @ own.T, own @ vector) if chosen else np.zeros(0)
        found = vector + multipliers @ own
        if (multipliers >= -1e-12).all() and (rows @ found >= -1e-12 * np.linalg.norm(vector)).all():
            return found
    raise AssertionError("no face fits")


def least_gain_by_enumeration(jacobian, radius):
    """Return max over d of min_t <g_t, d> within the ball: for every support of w, the dual's stationary point."""
    mean = jacobian.mean(0)
    room, best = radius * np.linalg.norm(mean), -np.inf
    for chosen in supports(len(jacobian)):
        if not chosen:
            continue
        rows = jacobian[chosen]
        lengths = np.linalg.norm(rows, axis=1)
        # d = mean + rows^T v with all gains equal to s, at distance `room`: a quadratic equation in s.
        inverse = np.linalg.inv(unit(rows) @ unit(rows).T)
        price, gain = 1 / lengths, unit(rows) @ mean
        a, b, c = price @ inverse @ price, price @ inverse @ gain, gain @ inverse @ gain
        if b**2 - a * (c - room**2) < 0:
            continue
        level = (b + np.sqrt(b**2 - a * (c - room**2))) / a
        d = mean + (inverse @ (level * price - gain)) @ unit(rows)
        if np.linalg.norm(d - mean) <= room * (1 + 1e-9):
            best = max(best, (jacobian @ d).min())
    return best


@settings(max_examples=80, deadline=None)
@given(SEEDS, SMALL, RATIOS, MAGNITUDES, SHIFTS)
def test_the_shortest_vector_of_the_hull_is_that_of_the_enumeration(seed, tasks, ratio, magnitude, shift):
    jacobian = gradients(seed, tasks, ratio, magnitude, shift)
    weights = solvers.shortest_in_hull(jacobian @ jacobian.T)
    wanted = shortest_by_enumeration(jacobian)
    np.testing.assert_allclose(weights, wanted, rtol=1e-8, atol=1e-12 * wanted.max())


@settings(max_examples=80, deadline=None)
@given(SEEDS, SIZES, RATIOS, SHIFTS)
def test_the_shortest_vector_meets_the_optimality_conditions(seed, tasks, ratio, shift):
    jacobian = gradients(seed, tasks, ratio, shift=shift)
    weights = solvers.shortest_in_hull(jacobian @ jacobian.T)
    found = weights @ jacobian
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert (weights >= 0).all()
    gains, square = jacobian @ found, found @ found
    size = np.linalg.norm(jacobian, axis=1) * np.linalg.norm(found)
    assert (gains >= square - 1e-10 * size).all()
    assert (np.abs(gains - square)[weights > 0] <= 1e-10 * size[weights > 0]).all()


@settings(max_examples=80, deadline=None)
@given(SEEDS, SMALL, RATIOS, MAGNITUDES, SHIFTS)
def test_projections_are_those_of_the_enumeration(seed, tasks, ratio, magnitude, shift):
    jacobian = gradients(seed, tasks, ratio, magnitude, shift)
    vectors = np.vstack([np.eye(tasks), np.ones(tasks)])
    for vector, row in zip(vectors, solvers.dual_cone_projections(jacobian @ jacobian.T, vectors), strict=True):
        target = vector @ jacobian
        np.testing.assert_allclose(
            row @ jacobian, projection_by_enumeration(jacobian, target), rtol=1e-8, atol=1e-9 * np.linalg.norm(target)
        )


@settings(max_examples=80, deadline=None)
@given(SEEDS, SIZES, RATIOS, SHIFTS)
def test_projections_meet_the_optimality_conditions(seed, tasks, ratio, shift):
    jacobian = gradients(seed, tasks, ratio, shift=shift)
    lengths = np.linalg.norm(jacobian, axis=1)
    for vector in (*np.eye(tasks), np.ones(tasks)):
        (row,) = solvers.dual_cone_projections(jacobian @ jacobian.T, vector[None])
        multipliers, size = (row - vector) * lengths, np.linalg.norm(vector @ jacobian)
        gains = unit(jacobian) @ (row @ jacobian)
        assert (multipliers >= 0).all()
        assert (gains >= -1e-10 * size).all()
        assert np.abs(multipliers * gains).max() <= 1e-10 * size**2


@pytest.mark.parametrize("ratio", [0.03, 1e-3, 1e-6])
def test_no_task_is_ascended_however_small_its_gradient(ratio):
    """Lengths 1 : 0.03 at 120 degrees used to end at a cosine of -0.06, 1 : 0.001 at -0.50."""
    jacobian = np.array([[1.0, 0.0], [ratio * np.cos(2 * np.pi / 3), ratio * np.sin(2 * np.pi / 3)]])
    for vectors in (np.eye(2), np.ones((1, 2))):
        update = solvers.dual_cone_projections(jacobian @ jacobian.T, vectors).sum(0) @ jacobian
        assert (unit(jacobian) @ update).min() / np.linalg.norm(update) > -1e-10


@settings(max_examples=80, deadline=None)
@given(SEEDS, SMALL, RATIOS, MAGNITUDES, SHIFTS, st.floats(0.05, 0.95))
def test_the_largest_least_gain_is_that_of_the_enumeration(seed, tasks, ratio, magnitude, shift, radius):
    jacobian = gradients(seed, tasks, ratio, magnitude, shift)
    found = solvers.conflict_averse(jacobian @ jacobian.T, radius) @ jacobian
    mean = jacobian.mean(0)
    assert np.linalg.norm(found - mean) <= radius * np.linalg.norm(mean) * (1 + 1e-9)
    wanted, gain = least_gain_by_enumeration(jacobian, radius), (jacobian @ found).min()
    smallest = np.linalg.norm(jacobian, axis=1).min() * np.linalg.norm(mean)
    assert gain == pytest.approx(wanted, rel=1e-8, abs=1e-8 * smallest)


@settings(max_examples=60, deadline=None)
@given(SEEDS, SIZES, RATIOS, SHIFTS, st.floats(0.05, 0.95))
@example(0, 3, 4.0, -0.4, 0.4)
def test_the_largest_least_gain_meets_the_optimality_conditions(seed, tasks, ratio, shift, radius):
    jacobian = gradients(seed, tasks, ratio, shift=shift)
    coefficients = solvers.conflict_averse(jacobian @ jacobian.T, radius)
    mean, found = jacobian.mean(0), coefficients @ jacobian
    pull = coefficients - 1 / tasks
    assert (pull >= -1e-12).all()
    assert np.linalg.norm(found - mean) == pytest.approx(radius * np.linalg.norm(mean), rel=1e-8)
    gains = jacobian @ found
    lengths = np.linalg.norm(jacobian, axis=1)
    active = pull * lengths > 1e-9 * (pull * lengths).max()
    assert (np.abs(gains - gains.min()) / lengths)[active].max() <= 1e-8 * np.linalg.norm(found)


def test_conflict_averse_with_opposed_gradients():
    # g = 0.25; the ball reaches to 0.25 (1 - c), which descends the longer task most slowly.
    jacobian = np.array([[1.0, 0.0], [-0.5, 0.0]])
    found = solvers.conflict_averse(jacobian @ jacobian.T, 0.4) @ jacobian
    np.testing.assert_allclose(found, [0.15, 0.0], atol=1e-12)


def test_conflict_averse_where_nothing_can_be_gained_is_the_nearest_without_conflict():
    jacobian = np.array([[1.0, 0.0], [-0.5, 0.0]])
    found = solvers.conflict_averse(jacobian @ jacobian.T, 1.5) @ jacobian
    np.testing.assert_allclose(found, [0.0, 0.0], atol=1e-9)


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(3, 6), st.sampled_from([2, 3, 8, 100]), st.sampled_from([0.0, 1e-12, 1e-10, 1e-8, 1e-6]))
def test_conflict_averse_stays_in_its_ball_where_gradients_cancel_each_other_out(seed, tasks, width, apart):
    random = np.random.default_rng(seed)
    jacobian = random.normal(size=(tasks, width))
    jacobian[1] = -random.uniform(0.2, 3) * jacobian[0] + apart * random.normal(size=width)
    coefficients, mean = solvers.conflict_averse(jacobian @ jacobian.T, 0.4), jacobian.mean(0)
    room = 0.4 * np.linalg.norm(mean)
    assert np.linalg.norm(coefficients @ jacobian - mean) <= room * 1.001
    # As an update is made of float32 gradients.
    rounded = coefficients.astype(np.float32) @ jacobian.astype(np.float32)
    assert np.linalg.norm(rounded - mean) <= room * 1.01 + 1e-5 * np.linalg.norm(mean)


@settings(max_examples=80, deadline=None)
@given(SEEDS, SIZES, RATIOS, MAGNITUDES, SHIFTS, st.sampled_from([0.5, 1.0, 2.0, 5.0]))
def test_fair_shares_solve_their_equation(seed, tasks, ratio, magnitude, shift, alpha):
    jacobian = gradients(seed, tasks, ratio, magnitude, shift)
    shares = solvers.fair_shares(jacobian @ jacobian.T, alpha)
    assert (shares > 0).all()
    gains = unit(jacobian) @ (shares @ jacobian)
    wanted = shares ** (-1 / alpha) / np.linalg.norm(jacobian, axis=1)
    assert np.abs(gains - wanted).max() <= 1e-8 * wanted.max()
    np.testing.assert_allclose(gains, wanted, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIZES, RATIOS, st.floats(0, 2))
def test_fair_shares_meet_claims(seed, tasks, ratio, spread):
    jacobian = gradients(seed, tasks, ratio)
    claims = 10.0 ** np.random.default_rng(seed).uniform(-spread, spread, tasks)
    shares = solvers.fair_shares(jacobian @ jacobian.T, 2.0, claims)
    gains, wanted = jacobian @ (shares @ jacobian), np.sqrt(claims / shares)
    np.testing.assert_allclose(gains, wanted, rtol=1e-6)


@settings(max_examples=80, deadline=None)
@given(SEEDS, SIZES, RATIOS, SHIFTS, st.sampled_from([0.0, 0.02, 0.5]))
def test_priority_is_nearest_to_the_first_gradient_with_the_least_gains(seed, tasks, ratio, shift, share):
    jacobian = gradients(seed, tasks, ratio, shift=shift)
    lengths = np.linalg.norm(jacobian, axis=1)
    floors = share * lengths[1:] ** 2
    found = solvers.priority_constrained(jacobian @ jacobian.T, floors)
    assert found is not None  # independent gradients: any gains can be had
    slack = (jacobian[1:] @ (found @ jacobian) - floors) / lengths[1:]
    multipliers = found[1:] * lengths[1:]
    size = max(np.linalg.norm(found @ jacobian), lengths.max())
    assert found[0] == 1
    assert multipliers.min() >= 0
    assert slack.min() >= -1e-9 * size
    assert np.abs(multipliers * slack).max() <= 1e-9 * size**2


def test_priority_without_a_solution_is_none():
    jacobian = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, -1.0]])
    assert solvers.priority_constrained(jacobian @ jacobian.T, np.full(2, 0.1)) is None


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8))
def test_the_nearest_point_of_the_simplex(values):
    vector = np.array(values)
    found = solvers.onto_simplex(vector)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    # Optimality: what is left of v - w is the same for all that are positive, and no larger for the others.
    left = vector - found
    np.testing.assert_allclose(left[found > 0], left.max(), atol=1e-9)


@pytest.mark.parametrize("height", [9e15, 1.3e16, 1e30])
def test_the_nearest_point_of_the_simplex_to_a_far_vector(height):
    np.testing.assert_array_equal(solvers.onto_simplex(np.array([height, height / 2, 0.0])), [1, 0, 0])
    np.testing.assert_allclose(solvers.onto_simplex(np.full(4, height)), 0.25)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_no_point_of_the_simplex_is_near_a_vector_that_is_not_finite(wrong):
    with pytest.raises(ValueError, match="not finite"):
        solvers.onto_simplex(np.array([1.0, wrong]))


def test_fair_shares_by_hand():
    # Orthogonal gradients: n^2 c = c^(-1/alpha), c = n^(-2 alpha / (1 + alpha)).
    lengths = np.array([1.0, 1e-3, 10.0])
    for alpha in (0.5, 1.0, 2.0):
        found = solvers.fair_shares(np.diag(lengths**2), alpha)
        np.testing.assert_allclose(found, lengths ** (-2 * alpha / (1 + alpha)), rtol=1e-10)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("jacobian", [[[1.0, 0.0], [-1.0, 0.0]], [[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]],
                                      [[1.0, 0.0], [0.0, 0.0]]])  # fmt: skip
def test_gradients_that_cancel_have_no_fair_shares(jacobian, alpha):
    jacobian = np.array(jacobian)
    with pytest.raises(ValueError, match=r"no fair shares|no share is fair"):
        solvers.fair_shares(jacobian @ jacobian.T, alpha)


@pytest.mark.filterwarnings("ignore:(divide|invalid)")
def test_shares_that_are_not_found_are_no_gradients_that_cancel_each_other_out():
    """Gradients at an acute angle have fair shares for every alpha; here that of the longer one is below 1e-308."""
    gramian = np.array([[1.0, 1e-4], [1e-4, 2e-8]])
    with pytest.raises(ValueError, match="alpha = 300 is too extreme for gradients of such lengths"):
        solvers.fair_shares(gramian, 300)


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIZES, st.floats(0, 3), MAGNITUDES)
def test_solutions_scale_with_the_gradients(seed, tasks, ratio, magnitude):
    jacobian, factor = gradients(seed, tasks, ratio), 10.0**magnitude
    one, other = jacobian @ jacobian.T, factor**2 * (jacobian @ jacobian.T)
    for solve in (
        solvers.shortest_in_hull,
        lambda G: solvers.dual_cone_projections(G, np.eye(tasks)),
        lambda G: solvers.conflict_averse(G, 0.4),
    ):
        wanted = solve(one)
        np.testing.assert_allclose(solve(other), wanted, rtol=1e-7, atol=1e-9 * np.abs(wanted).max())
    np.testing.assert_allclose(solvers.fair_shares(other) * factor, solvers.fair_shares(one), rtol=1e-8)


def in_float32(*rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return long gradients rounded to float32, and their Gramian in float64."""
    jacobian = np.array(rows, np.float32).astype(np.float64)
    return jacobian, jacobian @ jacobian.T


def impartial_by_the_paper(jacobian):
    """Liu et al. (ICLR 2021), equation 7: the shares of all but the first gradient solve k - 1 linear equations."""
    U, D = unit(jacobian)[0] - unit(jacobian)[1:], jacobian[0] - jacobian[1:]
    rest = np.linalg.solve(U @ D.T, U @ jacobian[0])
    return np.array([1 - rest.sum(), *rest])


@settings(max_examples=40, deadline=None)
@given(SEEDS, SMALL, st.floats(0, 2), SHIFTS)
def test_impartial_shares_are_the_papers(seed, tasks, ratio, shift):
    jacobian = gradients(seed, tasks, ratio, shift=shift)
    found = solvers.impartial_shares(*solvers.unit_gramian(jacobian @ jacobian.T))
    np.testing.assert_allclose(found @ jacobian, tasks * impartial_by_the_paper(jacobian) @ jacobian, rtol=1e-6)


@pytest.mark.parametrize("size", [3, 50, 100_000])
@pytest.mark.parametrize("signs", [(1, 1, -1), (1, -1, 1), (-1, 1, 1)])
def test_impartial_shares_of_gradients_that_depend_on_each_other_are_0_as_the_papers_update(size, signs):
    one, other = np.random.default_rng(size).normal(size=(2, size))
    exact = np.array([one, other, one + other]) * np.array(signs)[:, None]
    assert np.linalg.norm(impartial_by_the_paper(exact) @ exact) < 1e-10 * np.linalg.norm(one)
    jacobian, gramian = in_float32(*exact)
    found = solvers.impartial_shares(*solvers.unit_gramian(gramian))
    assert np.linalg.norm(found @ jacobian) < 1e-4 * np.linalg.norm(one)


@pytest.mark.parametrize("factor", [-1.0, -0.3])
@pytest.mark.parametrize("size", [2, 5_000, 100_000])
def test_opposed_gradients_have_the_impartial_update_0_and_no_fair_one(size, factor):
    one = np.random.default_rng(size).normal(size=size)
    _, gramian = in_float32(one, factor * one)
    np.testing.assert_array_equal(solvers.impartial_shares(*solvers.unit_gramian(gramian)), [0, 0])
    with pytest.raises(ValueError, match="cancel each other out"):
        solvers.fair_shares(gramian)


def test_impartial_shares_without_some_or_any_gradient():
    for squares, wanted in (([4.0, 0.0, 1.0], [2 / 3, 0, 4 / 3]), ([0.0, 9.0], [0, 1]), ([0.0, 0.0], [0, 0])):
        found = solvers.impartial_shares(*solvers.unit_gramian(np.diag(squares)))
        np.testing.assert_allclose(found, wanted)


@pytest.mark.parametrize("size", [50, 5_000, 400_000])
@pytest.mark.parametrize("factor", [1.0, 0.3, -0.3])
def test_gradients_along_one_line_have_one_coordinate(size, factor):
    one = np.random.default_rng(size).normal(size=size)
    _, gramian = in_float32(one, factor * one, 0 * one)
    found = solvers.coordinates(gramian)
    assert found.shape == (3, 1)
    np.testing.assert_allclose(found / found[0], [[1], [factor], [0]], rtol=1e-6)


@pytest.mark.parametrize("factor", [-1.0, -0.3])
def test_where_nothing_is_left_of_the_priority_its_update_is_0(factor):
    """Without a least gain, the nearest vector to g that does not conflict with -g is 0, and not a rounding error."""
    one = np.random.default_rng(0).normal(size=5_000)
    _, gramian = in_float32(one, factor * one)
    np.testing.assert_array_equal(solvers.priority_constrained(gramian, np.zeros(1)), [0, 0])


def test_a_gradient_of_length_zero():
    gramian = np.diag([4.0, 0.0, 1.0])
    np.testing.assert_array_equal(solvers.shortest_in_hull(gramian), [0, 1, 0])
    np.testing.assert_array_equal(solvers.dual_cone_projections(gramian, np.eye(3)), np.eye(3))
    assert np.isfinite(solvers.conflict_averse(gramian, 0.4)).all()
