"""One score for the validation losses of several tasks."""

import math

import pytest

from mtcp.training.validation_score import first_finite, relative_score


def test_losses_are_summed_relative_to_the_reference():
    assert relative_score({"a": 1.0, "b": 3.0}, {"a": 2.0, "b": 1.5}) == pytest.approx(2.5)
    assert relative_score({"a": 1.0}, {"a": 0.0}) == pytest.approx(1e12)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_an_epoch_with_a_loss_that_is_not_finite_neither_wins_nor_is_a_reference(wrong):
    """The first epoch's b is not finite: the later ones are compared by b, too, and the best of them is kept."""
    reference, scores = {}, []
    for losses in ({"a": 1.0, "b": wrong}, {"a": 0.95, "b": 1.0}, {"a": 0.9, "b": 2.0}):
        reference = first_finite(reference, losses)
        scores.append(relative_score(losses, reference))
    assert reference == {"a": 1.0, "b": 1.0}
    assert scores == pytest.approx([math.inf, 1.95, 2.9])
