"""Exact solutions of the k x k problems of gradient schemes, in float64, for gradients of any length.

Every public solver takes the Gramian G (k, k) of the k tasks' gradients, G_ij = <g_i, g_j>, and returns one coefficient
per task. The problems are solved for unit gradients, whose Gramian C contains cosines: with lengths n and c = u / n,
the unknowns u have similar sizes even where the coefficients c differ as much as the lengths do, by 1e6 and more.
Quadratic programs are solved by SciPy's active-set solver (Lawson and Hanson, 1974, chapter 23), which ends at a vertex
that satisfies the optimality conditions up to rounding. The fair-share equations are solved by Newton's method with a
line search.

A gradient of length 0 has cosine 0 with every other gradient.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv, dpotrf  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs
from scipy.optimize import nnls

Array = NDArray[np.float64]
#: Gradients in float32 resolve 6e-8 of their length: a sum of unit gradients whose coefficients are above this many
#: times its own length is hardly more than rounding.
_LARGEST = 1e4
#: Unit gradients whose Gramian has an eigenvalue below k times this are linearly dependent but for float32's rounding.
_DEPENDENT = float(np.finfo(np.float32).eps) ** 2


def unit_gramian(gramian: Array) -> tuple[Array, Array]:
    """Return the lengths n (k,) of the gradients and C (k, k), the Gramian of the gradients scaled to length 1."""
    lengths = np.sqrt(gramian.diagonal())
    safe = lengths if lengths.min() > 0 else np.where(lengths > 0, lengths, 1.0)
    cosines = gramian / safe[:, None] / safe
    cosines.flat[:: len(lengths) + 1] = lengths > 0
    return lengths, cosines


def coordinates(gramian: Array) -> Array:
    """Return the gradients in an orthonormal basis of their span: the rows (k, r), of rank r, have the Gramian G.

    Unit gradients that are linearly dependent but for float32's rounding count as dependent: in G, a squared matrix,
    the singular value of that rounding has no digit that is right.
    """
    lengths, cosines = unit_gramian(gramian)
    values, vectors, kept = _spectrum(cosines)
    return lengths[:, None] * vectors[:, kept] * np.sqrt(values[kept])


def shortest_in_hull(gramian: Array) -> Array:
    """Return w on the simplex that minimises ||sum_t w_t g_t||: the multiple gradient descent problem.

    For every m, the minimiser over w >= 0 of ||sum_t w_t g_t||^2 + m^2 (sum_t w_t - 1)^2 is a multiple of the solution,
    so one non-negative least squares problem is enough.
    """
    lengths, cosines = unit_gramian(gramian)
    if lengths.min() == 0:
        return (lengths == 0) / np.count_nonzero(lengths == 0)
    prices = lengths.min() / lengths
    found, _ = _pulled_to_one(_factor(cosines), prices)
    return found * prices / (found @ prices)


def dual_cone_projections(gramian: Array, vectors: Array) -> Array:
    """Return the coefficients of the nearest vectors that conflict with no gradient.

    Row r of `vectors` (m, k) represents v_r = sum_t vectors_rt g_t. Row r of the result represents the solution d of
    min ||d - v_r|| subject to <g_t, d> >= 0 for every t, which is d = v_r + sum_t m_t g_t with multipliers m >= 0.
    """
    lengths, cosines = unit_gramian(gramian)
    inverse = 1 / np.where(lengths > 0, lengths, np.inf)
    projected, targets = vectors.astype(np.float64), vectors * lengths
    conflicts = np.flatnonzero(((targets @ cosines) < 0).any(1))
    factor = _factor(cosines) if len(conflicts) else cosines
    for row in conflicts:
        size = np.abs(targets[row]).max()
        multipliers, _ = nnls(factor, factor @ (targets[row] / -size))
        projected[row] += size * multipliers * inverse
    return projected


def priority_constrained(gramian: Array, floors: Array) -> Array | None:
    """Return the coefficients of the vector d nearest to g_0 with <g_j, d> >= floors_j for j = 1 ... k - 1.

    `floors` (k - 1,). None where no d meets all of them; zeros where d is 0 but for rounding.
    """
    lengths, cosines = unit_gramian(gramian)
    bounded = np.flatnonzero(lengths[1:]) + 1
    coefficients = np.eye(len(lengths))[0]
    if not len(bounded):
        return coefficients
    lacking = floors[bounded - 1] / lengths[bounded] - lengths[0] * cosines[bounded, 0]
    found = _least_distance(_factor(cosines[np.ix_(bounded, bounded)]), lacking)
    if found is None:
        return None
    coefficients[bounded] = found / lengths[bounded]
    return np.zeros(len(lengths)) if _cancel_out(cosines, coefficients * lengths) else coefficients


def onto_simplex(vector: Array) -> Array:
    """Return the point of the simplex {w >= 0, sum w = 1} nearest to `vector` (k,) (Held, Wolfe and Crowder, 1974).

    Raises `ValueError` where a component is not finite.
    """
    if not np.isfinite(vector).all():
        raise ValueError("no point of the simplex is nearest to a vector that is not finite")
    vector = vector - vector.max()  # the same point, and its sum of 1 does not drown in large values
    falling = np.sort(vector)[::-1]
    levels = (falling.cumsum() - 1) / np.arange(1, len(vector) + 1)
    return np.maximum(vector - levels[falling > levels][-1], 0.0)


def conflict_averse(gramian: Array, radius: float) -> Array:
    """Return the coefficients of argmax_d min_t <g_t, d> with ||d - g|| <= radius ||g||, g the mean gradient.

    For a given least gain s, finding the d nearest to g with <g_t, d> >= s is a least distance problem, whose distance
    grows with s; the largest s within the ball is sought. For a given set of active constraints the distance has a
    closed form in s, and the search goes from set to set inside a bracket. Where no d has a positive least gain
    (gradients that cancel each other out, radius >= 1), returns the d nearest to g. Gradients of length 0 are left out.
    """
    lengths, cosines = unit_gramian(gramian)
    tasks = len(lengths)
    coefficients, kept = np.full(tasks, 1 / tasks), lengths > 0
    if radius == 0 or not kept.any():
        return coefficients
    if not kept.all():
        lengths, cosines = lengths[kept], cosines[kept][:, kept]
    longest = lengths.max()
    relative = lengths / longest
    gains = cosines @ relative / tasks  # of the mean gradient, along unit gradients
    room = radius * max(gains @ relative / tasks, 0.0) ** 0.5
    coefficients[kept] += _largest_least_gain(cosines, gains, relative.min() / relative, room) / relative
    return coefficients


def fair_shares(gramian: Array, alpha: float = 1.0, claims: Array | float = 1.0) -> Array:
    """Return c > 0 with G c = (w / c)^(1/alpha), entry by entry: alpha-fair gains; Nash bargaining for alpha = 1.

    `claims`: w (k,), positive. c is the minimiser of a strictly convex function, c^T G c / 2 minus the integral of
    (w / c)^(1/alpha). Solved by Newton's method for unit gradients, with steps relative to the unknowns that are halved
    while they overshoot. Raises `ValueError` where there is no solution (a gradient of length 0, or gradients that
    cancel each other out) and where none is found, because float64 does not resolve the smallest share or gain: alpha
    below about 0.2 or above 50, for lengths that differ by a factor of 1e4.
    """
    lengths, cosines = unit_gramian(gramian)
    if lengths.min() == 0:
        raise ValueError("the gradient of a task is zero, and no share is fair to it")
    power = 1 / alpha
    # With c = u / n: C u = n^(p - 1) w^p u^(-p). Lengths are divided by `scale`, which the last line puts back.
    scale = lengths.max()
    pull = (lengths / scale) ** (power - 1) * claims**power
    shares = pull ** (1 / (1 + power))
    balance, need = _fairness(cosines, pull, power, shares)
    residual = np.inf
    for _ in range(200):
        gradient = balance - need
        residual = np.abs(gradient / need).max()
        if residual < 1e-13:
            break
        hessian = shares[:, None] * cosines * shares
        hessian.flat[:: len(shares) + 1] += power * need
        _, step, failed = dposv(hessian, -gradient)
        if failed:
            break
        # The function's slope along the step. It grows without bound as a share approaches 0: the step stops before.
        slope, shrink = -float(gradient @ step), min(1.0, 0.99 / max(-step.min(), 0.99))
        moved = shares
        for _ in range(60):
            moved = shares * (1 + shrink * step)
            balance, need = _fairness(cosines, pull, power, moved)
            if (balance - need) @ (shares * step / moved) <= slope / 2:
                break
            shrink /= 2
        shares = moved
    if _cancel_out(cosines, shares):
        raise ValueError("no fair shares: the gradients cancel each other out")
    if not residual < 1e-6:
        raise ValueError(f"no fair shares found: alpha = {alpha:g} is too extreme for gradients of such lengths")
    return shares / lengths * scale ** ((power - 1) / (1 + power))


def equal_cosines(lengths: Array, cosines: Array) -> tuple[Array, Array, float]:
    """Return u = C^+ 1, c = u / n (0 where n is 0), and the length of 1 - C u.

    `lengths` and `cosines` are as returned by `unit_gramian`. sum_t c_t g_t has the same cosine with every gradient
    where C u = 1. Unit gradients that are linearly dependent but for float32's rounding count as dependent.
    """
    values, vectors, kept = _spectrum(cosines)
    ones = vectors.T @ (lengths > 0)
    direction = vectors[:, kept] @ (ones[kept] / values[kept])
    return direction, direction / np.where(lengths > 0, lengths, np.inf), float(np.linalg.norm(ones[~kept]))


def impartial_shares(lengths: Array, cosines: Array) -> Array:
    """Return c, with the number of gradients that are not 0 as its sum: sum_t c_t g_t projects equally onto them all.

    Arguments as in `equal_cosines`. Zeros where only the zero vector does so: no gradient, or gradients that cancel
    each other out.
    """
    _, shares, missed = equal_cosines(lengths, cosines)
    count = np.count_nonzero(lengths)
    return count * shares / shares.sum() if count and missed < 1e-6 else np.zeros(len(lengths))


def _cancel_out(cosines: Array, parts: Array) -> bool:
    """Whether unit gradients times `parts` add up to hardly more than their rounding."""
    return bool(parts.sum() > _LARGEST * float(max(parts @ cosines @ parts, 0.0)) ** 0.5)


def _spectrum(cosines: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return the eigenvalues and eigenvectors (columns) of C, and which values are more than float32's rounding."""
    values, vectors = np.linalg.eigh(cosines)
    return values, vectors, values > len(values) * _DEPENDENT


def _factor(cosines: Array) -> Array:
    """Return A with A^T A = C: its columns are unit gradients in k coordinates."""
    factor, dependent = dpotrf(cosines, lower=0, clean=1)
    if not dependent and factor.diagonal().min() > 1e-6:
        return factor
    values, vectors = np.linalg.eigh(cosines)
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T


def _pulled_to_one(factor: Array, prices: Array) -> tuple[Array, float]:
    """Return the v >= 0 that minimises ||A v||^2 + (<prices, v> - 1)^2, and the square root of the minimum."""
    stacked = np.empty((len(factor) + 1, len(prices)))
    stacked[:-1], stacked[-1] = factor, prices
    target = np.zeros(len(stacked))
    target[-1] = 1.0
    return nnls(stacked, target)


def _least_distance(factor: Array, bounds: Array) -> Array | None:
    """Return v >= 0 such that x = A v is the shortest vector with A^T x >= bounds; None where there is none.

    Least distance programming (Lawson and Hanson, 1974, chapter 23.4).
    """
    size = np.abs(bounds).max()
    if bounds.max() <= 0:
        return np.zeros(len(bounds))
    found, distance = _pulled_to_one(factor, bounds / size)
    return found * (size / distance**2) if distance > 1e-9 else None


def _largest_least_gain(cosines: Array, gains: Array, prices: Array, room: float) -> Array:
    """Return v >= 0 such that x = A v, ||x|| <= room, has the largest s with A^T x >= s prices - gains.

    `gains`: those of x = 0. The search is in s: each step solves for a set of active constraints, and the search ends
    where the solution meets all constraints. At first, violated constraints are added and those with a negative
    multiplier dropped; if that does not converge, the constraints active at the last s are used, in a bracket of s.
    Multipliers above `_LARGEST` times `room` cancel each other out but for rounding: they do not count as inside.
    """
    ratios = gains / prices
    low, high = ratios.min(), ((gains + room) / prices).min()
    best, active, factor, most = np.zeros(len(gains)), ratios <= low, None, _LARGEST * room
    for turn in range(100):
        level, multipliers = _on_the_sphere(cosines, gains, prices, room, active)
        slack = cosines @ multipliers + gains - level * prices
        tolerance = 1e-13 * (room + abs(level))
        if multipliers.min() >= 0 and slack.min() >= -tolerance and multipliers.sum() <= most:
            return multipliers
        proposed = (multipliers > 0) | (slack < -tolerance)
        if turn < len(gains) and level < np.inf and proposed.any():
            active = proposed
            continue
        factor = _factor(cosines) if factor is None else factor
        if not low < level < high:
            level = (low + high) / 2
        nearest = _least_distance(factor, level * prices - gains)
        if nearest is not None and nearest.sum() <= most and nearest @ cosines @ nearest <= room**2:
            low, best = level, nearest
        else:
            high = level
        if high - low <= 1e-15 * max(abs(low), abs(high)):
            break
        if nearest is not None and nearest.max() > 0:
            active = nearest > 0
    return best


def _on_the_sphere(
    cosines: Array, gains: Array, prices: Array, room: float, active: NDArray[np.bool_]
) -> tuple[float, Array]:
    """Return s and v for which the constraints `active` hold with equality at the distance `room`, v = 0 elsewhere.

    Where these constraints are linearly dependent, s is infinite, which lies outside every bracket.
    """
    sides = np.array([prices[active], gains[active]]).T
    _, solved, dependent = dposv(cosines[active][:, active], sides)
    if dependent:
        return np.inf, np.full(len(gains), -1.0)
    (one, two), (_, three) = sides.T @ solved
    level = (two + max(two**2 - one * (three - room**2), 0.0) ** 0.5) / one
    multipliers = np.zeros(len(gains))
    multipliers[active] = level * solved[:, 0] - solved[:, 1]
    return level, multipliers


def _fairness(cosines: Array, pull: Array, power: float, shares: Array) -> tuple[Array, Array]:
    """Return the two sides of the fair-share equation times u: u_i (C u)_i, and the value it must have."""
    return shares * (cosines @ shares), pull * shares ** (1 - power)
