"""How gradients lie to each other: numbers by hand, and looking changes nothing."""

import math
from dataclasses import replace

import pytest
import torch

from mtcp.weighting.diagnostics import condition_number, magnitude_similarity
from mtcp.weighting.shared import gramian_of


def gramian(*rows):
    jacobian = torch.tensor(rows, dtype=torch.float64)
    return jacobian @ jacobian.T


def test_magnitude_similarity_by_hand():
    assert magnitude_similarity(gramian([3.0, 0.0], [0.0, 3.0])) == pytest.approx(1.0)
    # pairs (1, 2): 4/5, (1, 3): 6/10, (2, 3): 12/13
    assert magnitude_similarity(gramian([1.0, 0], [0, 2.0], [3.0, 0])) == pytest.approx((0.8 + 0.6 + 12 / 13) / 3)


def test_condition_number_is_that_of_the_gradients_and_leaves_zeros_out():
    assert condition_number(gramian([2.0, 0.0], [0.0, 0.5])) == pytest.approx(4.0)
    assert condition_number(gramian([1.0, 0.0], [1.0, 0.0])) == pytest.approx(1.0)
    assert math.isnan(condition_number(gramian([0.0, 0.0], [0.0, 0.0])))


@pytest.mark.parametrize("size", [10, 10_000, 1_000_000])
def test_the_condition_number_leaves_out_what_float32_has_rounded(size):
    one = torch.randn(size, generator=torch.Generator().manual_seed(size))
    assert condition_number(gramian_of(torch.stack([one, 0.3 * one]))) == pytest.approx(1.0)
    other = torch.randn(size, generator=torch.Generator().manual_seed(size + 1))
    assert condition_number(gramian_of(torch.stack([one, 1e-5 * other]))) > 1e4


def diagnosed(run, every):
    run.context = replace(run.context, diagnostics_every=every)
    run.scheme = type(run.scheme)(run.context, run.scheme.options)
    return run


@pytest.mark.parametrize("name", ["equal", "uncertainty", "famo"])
def test_looking_at_gradients_changes_no_step(name, bench):
    plain, watched = bench(name), diagnosed(bench(name), 2)
    for step in range(4):
        plain.step(step, auxiliary=True)
        watched.step(step, auxiliary=True)
    for one, other in zip(plain.network.parameters(), watched.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_loss_scheme_reports_what_a_gradient_scheme_sees(bench):
    plain, surgery = diagnosed(bench("equal"), 1), bench("pcgrad")
    for run in (plain, surgery):
        run.step(0)
        run.scheme.close_epoch()
    one, other = plain.scheme.record(), surgery.scheme.record()
    for key in ("cosine_semseg_depth", "conflict_share", "magnitude_similarity", "condition_number"):
        assert one[key] == pytest.approx(other[key], rel=1e-4)


def test_only_every_nth_batch_is_looked_at(bench):
    run = diagnosed(bench("equal"), 3)
    for step in range(7):
        run.step(step)
    assert run.scheme.monitor._means["magnitude_similarity"].count == 3


@pytest.mark.parametrize("name", ["equal", "mgda", "db_mtl"])
def test_the_share_of_the_update_that_comes_from_the_scheme(name, bench):
    run = diagnosed(bench(name), 1)
    inside = run.gradients(0)
    outside = {
        key: value - inside[key] for key, value in diagnosed(bench(name), 1).gradients(0, auxiliary=True).items()
    }
    shared = [key for key in inside if key.startswith("stem")]
    sizes = [torch.cat([part[key].flatten() for key in shared]).norm() for part in (inside, outside)]
    run = diagnosed(bench(name), 1)
    run.gradients(0, auxiliary=True)
    run.scheme.close_epoch()
    assert run.scheme.record()["scheme_share"] == pytest.approx(float(sizes[0] / sum(sizes)), rel=1e-3)


def test_without_losses_outside_all_of_the_update_comes_from_the_scheme(bench):
    for name in ("equal", "mgda"):
        run = bench(name)
        run.step(0)
        run.scheme.close_epoch()
        assert run.scheme.record()["scheme_share"] == 1.0
