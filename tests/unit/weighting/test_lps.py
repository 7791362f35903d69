import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtcp.weighting.lps import lps_weights

#: A trajectory of the released code's weights: epoch means, and the weights after each epoch.
REFERENCE_KAPPA = 7.5
LOSSES = [
    {"a": 1.0, "b": 0.35, "c": 0.05},
    {"a": 0.85, "b": 0.3, "c": 0.047},
    {"a": 0.7, "b": 0.29, "c": 0.04},
    {"a": 0.69, "b": 0.24, "c": 0.041},
]
WEIGHTS = [
    {"a": 1.4, "b": 4.0, "c": 28.0},
    {"a": 0.7479810637705377, "b": 0.8106377053745486, "c": 1.5374547479810632},
    {"a": 0.5273084681094078, "b": 1.7748955611990713, "c": 0.7672989902426575},
    {"a": 1.3187458885681487, "b": 0.06072384030141831, "c": 1.6312918647341035},
]


def drive(scheme, effective, epochs, micro=(0.5, 1.5)):
    """Feed epochs whose mean losses are given, spread over two steps; return the weights after each."""
    after = []
    for losses in epochs:
        for factor in micro:
            effective(scheme, [factor * value for value in losses.values()])
        scheme.close_epoch()
        after.append(scheme.weights.tolist())
    return after


def test_reference_trajectory(loss_scheme, effective):
    scheme = loss_scheme("lps", kappa=REFERENCE_KAPPA, log_projection=False)
    for got, wanted in zip(drive(scheme, effective, LOSSES), WEIGHTS, strict=True):
        assert got == pytest.approx(list(wanted.values()), rel=1e-5)


def test_weights_are_applied_in_the_next_epoch_to_projected_losses(loss_scheme, effective):
    scheme = loss_scheme("lps", tasks=2, kappa=2.0)
    values = [1.0, 3.0]  # log 2, log 4 = 2 log 2: first weights 3 and 1.5
    torch.testing.assert_close(effective(scheme, values), torch.tensor([1 / 2, 1 / 4]))
    scheme.close_epoch()
    torch.testing.assert_close(effective(scheme, values), torch.tensor([3 / 2, 1.5 / 4]))
    scheme.close_epoch()
    torch.testing.assert_close(scheme.weights, torch.ones(2, dtype=torch.float64))


def test_hand_computed_ratios():
    # a halves, b stays, the sum goes from 4 to 3: r = (.5, 1) * 4/3, mu = 1
    got = lps_weights(torch.tensor([2.0, 2.0]), torch.tensor([1.0, 2.0]), 4.0)
    torch.testing.assert_close(got, torch.tensor([1 - 4 / 3, 1 + 4 / 3]))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)), min_size=2, max_size=5),
    st.floats(0.1, 8),
    st.randoms(),
)
def test_equivariant_under_task_order_and_common_scale(pairs, kappa, random):
    before, now = (torch.tensor(column, dtype=torch.float64) for column in zip(*pairs, strict=True))
    weights = lps_weights(before, now, kappa)
    order = list(range(len(pairs)))
    random.shuffle(order)
    torch.testing.assert_close(lps_weights(before[order], now[order], kappa), weights[order])
    torch.testing.assert_close(lps_weights(3 * before, 3 * now, kappa), weights)
    torch.testing.assert_close(weights.mean(), lps_weights(before, now, 1.0).mean())


def test_kappa_7_5_goes_negative_13_3_percent_below_the_mean_and_says_so(loss_scheme, effective):
    scheme = loss_scheme("lps", tasks=2, kappa=7.5, log_projection=False)
    after = drive(scheme, effective, [{"a": 1.0, "b": 1.0}, {"a": 0.8, "b": 1.2}])
    assert after[1] == pytest.approx([1 + 7.5 * -0.2, 1 + 7.5 * 0.2])
    effective(scheme, [0.8, 1.2])
    assert scheme.flags() == ["negative_weights"]


def test_clipped_has_a_floor_at_0(loss_scheme, effective):
    scheme = loss_scheme("lps_clipped", tasks=2, kappa=7.5, log_projection=False)
    after = drive(scheme, effective, [{"a": 1.0, "b": 1.0}, {"a": 0.8, "b": 1.2}])
    assert after[1] == pytest.approx([0.0, 2.5])


def test_as_released_records_weights_and_never_uses_them(loss_scheme, effective):
    scheme = loss_scheme("lps_as_released", kappa=REFERENCE_KAPPA)
    for got, wanted in zip(drive(scheme, effective, LOSSES), WEIGHTS, strict=True):
        assert got == pytest.approx(list(wanted.values()), rel=1e-5)
    assert effective(scheme, [1.0, 2.0, 3.0]).tolist() == [1.0, 1.0, 1.0]
    record = scheme.record()
    assert record["unused_weight_a"] == pytest.approx(WEIGHTS[-1]["a"], rel=1e-5)
    assert record["weight_a"] == 1.0
    assert scheme.flags() == []


def test_absent_tasks(loss_scheme, effective):
    scheme = loss_scheme("lps", kappa=2.0, log_projection=False)
    effective(scheme, [1.0, 2.0, None])
    effective(scheme, [3.0, None, None])
    scheme.close_epoch()  # means 2, 2: c was never seen
    assert scheme.weights.tolist() == [2.0, 2.0, 1.0]
    effective(scheme, [1.0, None, 4.0])
    scheme.close_epoch()  # b keeps its mean 2: r_a = .5 / (3/4), r_b = 1 / (3/4)
    assert scheme.weights.tolist() == pytest.approx([1 - 2 / 3, 1 + 2 / 3, 1.0])
