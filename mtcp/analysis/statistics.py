"""Statistics of paired comparisons over few seeds: pure functions of arrays.

Throughout, x_1 ... x_n are *improvements*: one value per seed, method minus reference on the same seed, with the sign
such that positive means the method is better. `least_n` is the number of seeds below which nothing can be concluded.

Sources: exact sign-flip test: Fisher, The Design of Experiments (1935), section 21; Holm, Scand. J. Statist. 6
(1979) 65-70; region of practical equivalence with a t posterior: Benavoli, Corani, Demsar, Zaffalon, JMLR 18 (2017)
77; probability of improvement: Agarwal et al., NeurIPS 2021 (here over paired seeds).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

ALPHA: Final = 0.05
POWER: Final = 0.8
#: Up to this many seeds the test is exact: it splits them into two halves of at most 2^20 sign patterns each. Above it,
#: sign patterns are drawn at random.
EXACT_SEEDS: Final = 40
_DRAWN_PATTERNS: Final = 2**17

Conclusion = Literal["better", "worse", "equivalent", "inconclusive"]


def spread(values: ArrayLike) -> float:
    """Return the sample standard deviation (n - 1 in the denominator) of `values` (n,); NaN for n < 2."""
    x = np.asarray(values, dtype=float)
    # Relative to the first value, so that equal values give exactly 0; their mean would be rounded.
    return float((x - x[0]).std(ddof=1)) if x.size > 1 else float("nan")


def t_interval(values: ArrayLike, level: float = 1 - ALPHA) -> tuple[float, float]:
    """Return the two-sided Student interval of the mean of `values` (n,): mean ± t_{n-1} s / sqrt(n).

    (NaN, NaN) for a single value, which has no spread.
    """
    x = np.asarray(values, dtype=float)
    if x.size < 2:
        return float("nan"), float("nan")
    half = float(special.stdtrit(x.size - 1, (1 + level) / 2)) * spread(x) / np.sqrt(x.size)
    return float(x.mean() - half), float(x.mean() + half)


def sign_flip_p(improvements: ArrayLike) -> float:
    """Return the two-sided p of "the improvements (n,) are symmetric about 0", exact up to `EXACT_SEEDS`.

    p = #{s in {-1, 1}^n : |sum s_i x_i| >= |sum x_i|} / 2^n; the smallest possible value is 2 / 2^n.
    All 2^n patterns are counted by halves: the sums of the second half are sorted and searched for each sum of the
    first. With more seeds, 2^17 patterns are drawn, the same for equal n, and the observed pattern is counted as one
    more, which keeps the test valid (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010) 39). Raises
    `ValueError` without values.
    """
    x = np.asarray(improvements, dtype=float)
    if not x.size:
        raise ValueError("the sign-flip test needs at least one paired seed, got 0")
    threshold = abs(x.sum()) - 1e-12 * np.abs(x).sum()
    if x.size > EXACT_SEEDS:
        signs = np.random.default_rng(x.size).integers(0, 2, (_DRAWN_PATTERNS, x.size), dtype=np.int8)
        drawn = np.abs((2 * signs - 1) @ x)
        return float((1 + (drawn >= threshold).sum()) / (1 + _DRAWN_PATTERNS))
    first, second = _signed_sums(x[: x.size // 2]), np.sort(_signed_sums(x[x.size // 2 :]))
    above = second.size - np.searchsorted(second, threshold - first, side="left")
    below = np.searchsorted(second, -threshold - first, side="right")
    return float(min(1.0, (above.sum() + below.sum()) / 2.0**x.size))


def _signed_sums(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sum s_i x_i for every pattern of signs, (2^n,)."""
    sums = np.zeros(1)
    for value in x:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def probability_of_improvement(improvements: ArrayLike) -> float:
    """Return the share of paired seeds (n,) on which the method is better; ties count one half."""
    x = np.asarray(improvements, dtype=float)
    return float(np.mean((x > 0) + 0.5 * (x == 0)))


def rope_posterior(improvements: ArrayLike, rope: float) -> tuple[float, float, float]:
    """Return P(better), P(practically equal), P(worse) of the mean improvement; they sum to 1.

    Under a flat prior on mean and log spread, the mean's posterior is mean + s / sqrt(n) * t_{n-1}; "equal" is the
    mass within ± `rope` (in the metric's unit). NaN for a single value; a point mass if all values are equal.
    """
    x = np.asarray(improvements, dtype=float)
    if x.size < 2:
        return float("nan"), float("nan"), float("nan")
    mean, scale = float(x.mean()), spread(x) / np.sqrt(x.size)
    if scale == 0:
        return float(mean > rope), float(abs(mean) <= rope), float(mean < -rope)
    better, worse = (float(special.stdtr(x.size - 1, (side * mean - rope) / scale)) for side in (1, -1))
    return better, max(0.0, 1 - better - worse), worse


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return Holm's step-down adjusted p values (m,), in the given order.

    The i-th smallest becomes max over j <= i of (m - j + 1) p_(j), at most 1.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.minimum(1, np.maximum.accumulate((p.size - np.arange(p.size)) * p[order]))
    adjusted = np.empty_like(p)
    adjusted[order] = stepped
    return adjusted


def holm_levels(p_values: ArrayLike, inside: ArrayLike, alpha: float = ALPHA) -> NDArray[np.float64]:
    """Return the confidence level (m,) at which each interval of a family is drawn.

    1 - alpha / (m - rank + 1) where the mean lies beyond the ROPE, so that only a difference can be concluded. Rank
    counts from 1, the smallest p first; equal p values share the strictest rank among them, so that the answer does not
    depend on the order of rows. 1 - alpha / m where it lies `inside` (m,): only equivalence can be concluded there, and
    Holm's steps, which order by evidence for a difference, would give the least certain of them the weakest level.
    These are levels of single intervals, not a simultaneous region.
    """
    p = np.asarray(p_values, dtype=float)
    steps = p.size + 1 - stats.rankdata(p, method="min")
    return 1 - alpha / np.where(np.asarray(inside, dtype=bool), p.size, steps)


def least_n(family: int, alpha: float = ALPHA) -> int:
    """Return the fewest paired seeds n for which the smallest exact p, 2 / 2^n, is at most alpha / `family`.

    7 for a family of 2, 8 for 4, 9 for 8, 10 for 16. With fewer seeds, no comparison of the family can conclude.
    """
    if family < 1:
        raise ValueError(f"a family holds at least one comparison, got {family}")
    n = 1
    while 2.0 ** (1 - n) > alpha / family:
        n += 1
    return n


def alpha_of_look(look: int) -> float:
    """Return the error rate of verdicts at their `look`-th computation: ALPHA / 2^(look - 1).

    Adding seeds after verdicts have been seen gives further chances of a false verdict. With halved rates, all looks
    together conclude falsely in at most a share 2 ALPHA (1 - 2^-looks) of families, by the union bound: 5 % after one
    look, 7.5 % after two, never 10 %. Otherwise, adding seeds until something is significant would always succeed.
    """
    if look < 1:
        raise ValueError(f"looks are counted from 1, got {look}")
    return ALPHA / 2 ** (look - 1)


def detectable_effect(sd: float, n: int, family: int = 1, alpha: float = ALPHA) -> float:
    """Return the smallest mean improvement that a two-sided paired t test at alpha / `family` finds with POWER.

    `sd` is the standard deviation of the improvements, in the metric's unit; NaN for n < 2.
    """
    return sd * _detectable_in_sd(n, alpha / family) if n > 1 else float("nan")


@cache
def _detectable_in_sd(n: int, alpha: float) -> float:
    critical = stats.t.ppf(1 - alpha / 2, n - 1)

    def lacking(shift: float) -> float:
        return float(stats.nct.sf(critical, n - 1, shift)) - POWER

    return float(optimize.brentq(lacking, 0, 10 * critical + 10, xtol=1e-6) / np.sqrt(n))


def image_bootstrap(
    statistic: Callable[[NDArray[np.int64]], ArrayLike], images: int, draws: int, seed: int
) -> NDArray[np.float64]:
    """Return `statistic` of `draws` resamples of the test images, (draws, ...).

    `statistic` maps image indices (images,), drawn with replacement, to a number or array. The same `seed` gives the
    same resamples, so that methods are compared on the same ones. The result shows how much the choice of test images
    affects a value; it does not cover the variation over seeds.
    """
    generator = np.random.default_rng(seed)
    return np.stack([np.asarray(statistic(generator.integers(0, images, images)), float) for _ in range(draws)])


def conclude(low: float, high: float, rope: float, *, enough: bool, apart: bool) -> Conclusion:
    """Return the conclusion from an interval [low, high] of the improvement and the ROPE ± `rope`.

    Inconclusive without `enough` seeds. A difference also needs the exact test: `apart` is whether the test
    distinguishes the two after Holm's correction. The interval assumes normal improvements, the test does not; for
    skewed improvements, the interval alone would conclude falsely more often than its level says.
    """
    if not enough or not np.isfinite([low, high]).all():
        return "inconclusive"
    if low > rope or high < -rope:
        return ("better" if low > rope else "worse") if apart else "inconclusive"
    return "equivalent" if -rope <= low and high <= rope else "inconclusive"


@dataclass(frozen=True)
class Comparison:
    """One row of a family: `improvement` is the mean of n paired improvements, all in the metric's unit."""

    n: int
    improvement: float
    sd: float
    low: float
    high: float
    p: float
    p_holm: float
    holm_level: float
    holm_low: float
    holm_high: float
    probability_of_improvement: float
    better: float
    equal: float
    worse: float
    rope: float
    family_size: int
    least_n: int
    detectable: float
    alpha: float
    conclusion: Conclusion


def compare_family(
    improvements: Sequence[ArrayLike],
    ropes: Sequence[float],
    *,
    deterministic: bool = False,
    settled: bool = True,
    alpha: float = ALPHA,
) -> list[Comparison]:
    """Compare a declared family: per comparison an array of paired improvements (n_i,) and a ROPE.

    A comparison without pairs (n = 0) stays in the list, without numbers, and still counts for Holm (p = 1), because
    families are declared beforehand. `deterministic`: the quantity does not vary by chance (such as the number of
    parameters), so one pair is enough to conclude. Otherwise nothing concludes before the grid is `settled`, with no
    planned run left: whoever judges after every seed judges more often than the error rate allows for.
    """
    arrays = [np.asarray(x, dtype=float) for x in improvements]
    p = np.array([sign_flip_p(x) if x.size else 1.0 for x in arrays])
    least = 1 if deterministic else least_n(max(1, len(arrays)), alpha)
    inside = [bool(x.size) and abs(x.mean()) <= rope for x, rope in zip(arrays, ropes, strict=True)]
    levels = holm_levels(p, inside, alpha)
    rows = []
    for x, rope, p_value, adjusted, level in zip(arrays, ropes, p, holm(p), levels, strict=True):
        n = int(x.size)
        mean = float(x.mean()) if n else float("nan")
        holm_low, holm_high = (mean, mean) if deterministic else t_interval(x, level)
        low, high = t_interval(x)
        better, equal, worse = rope_posterior(x, rope)
        rows.append(
            Comparison(
                n=n,
                improvement=mean,
                sd=spread(x),
                low=low,
                high=high,
                p=float(p_value) if n else float("nan"),
                p_holm=float(adjusted) if n else float("nan"),
                holm_level=float(level),
                holm_low=holm_low,
                holm_high=holm_high,
                probability_of_improvement=probability_of_improvement(x) if n > 1 else float("nan"),
                better=better,
                equal=equal,
                worse=worse,
                rope=float(rope),
                family_size=len(arrays),
                least_n=least,
                detectable=detectable_effect(spread(x), n, len(arrays), alpha),
                alpha=alpha,
                conclusion=conclude(
                    holm_low,
                    holm_high,
                    rope,
                    enough=n >= least and (settled or deterministic),
                    apart=deterministic or adjusted <= alpha,
                ),
            )
        )
    return rows
