"""Impartial multi-task learning, loss balance."""

from mtcp.api import LearnedWeights, scheme


@scheme("imtl_l")
class IMTLL(LearnedWeights):
    """Impartial multi-task learning, loss balance (Liu et al., ICLR 2021).

    total = sum_t exp(s_t) l_t - s_t with s_t learned, from 0: at the optimum over s_t, every scaled loss is 1. Learned
    by Adam at `rate`; `solve: each_epoch` sets s_t to its optimum for the last epoch's mean losses instead.

    Caveat: it equals uncertainty weighting up to a factor and the sign of s_t.
    """
