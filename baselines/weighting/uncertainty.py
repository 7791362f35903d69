"""Uncertainty weighting."""

from mtcp.api import LearnedWeights, scheme


@scheme("uncertainty")
class Uncertainty(LearnedWeights):
    """Homoscedastic uncertainty (Kendall, Gal and Cipolla, CVPR 2018, equation 7).

    For regression, total = sum_t (exp(-s_t) l_t + s_t) / 2, with s_t = log sigma_t^2 learned, from 0. As in most code,
    one form is used for all tasks; unlike there, the factor 1/2 of the first term is left out:
    total = sum_t exp(-s_t) l_t + s_t / 2, so that weights start at 1 and end near 1 / (2 l_t).
    Learned by Adam at `rate`; `solve: each_epoch` sets s_t to its optimum for the last epoch's mean losses instead.

    Caveat: s_t is unbounded below, so weights grow as losses vanish.
    """

    balance = 0.5
