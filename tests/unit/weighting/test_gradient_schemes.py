"""Gradient-level schemes against closed forms, torchjd, toy problems, and the properties their papers claim."""

import itertools

import numpy as np
import pytest
import torch
from torchjd import aggregation

from mtcp.core import plugins
from mtcp.weighting import solvers
from mtcp.weighting.base import Diverged, SchemeContext
from mtcp.weighting.shared import gramian_of

LOSSES = [0.5, 2.0, 4.0]


class Direct(torch.nn.Module):
    """Tasks read one vector: the gradients are whatever a test wants them to be."""

    def __init__(self, rows: int, size: int) -> None:
        super().__init__()
        self.encoder = torch.nn.Linear(1, size, bias=False)
        self.rows = rows

    def forward(self, image):
        return {"abcdefgh"[row]: {"final": self.encoder.weight.sum()} for row in range(self.rows)}


def combined(name, jacobian, losses=None, present=None, steps=1, **given):
    """Return (update, coefficients) of the last of `steps` equal steps of scheme `name` on the Jacobian."""
    scheme = build(name, len(present) if present else len(jacobian), jacobian.shape[1], **given)
    return again(scheme, jacobian, losses, steps=steps)


def build(name, tasks, size, **given):
    context = SchemeContext(tuple("abcdefgh"[:tasks]), 7, 4, 3, (8, 8), Direct(tasks, size))
    return plugins.load("scheme", name)(context, plugins.parameters("scheme", name, given))


def again(scheme, jacobian, losses=None, present=None, steps=1):
    losses = torch.tensor(losses or [1.0] * len(jacobian))
    present = torch.tensor(present or list(range(len(jacobian))))
    for _ in range(steps):
        result = scheme.combined(jacobian, (jacobian @ jacobian.T).double(), losses, present)
        scheme.steps += 1
        scheme.seen[present] = True
        scheme.close_step(dict)
    return result


def random_jacobian(seed, rows=3, size=20, shift=0.0):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(rows, size, generator=draws) + shift


CONFLICT = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
AGREE = torch.tensor([[1.0, 0.0, 0.5], [0.2, 1.0, 0.0], [0.0, 0.3, 2.0]])


@pytest.mark.parametrize("name", ["pcgrad", "gradvac", "upgrad", "dualproj"])
def test_without_conflict_it_is_the_plain_sum(name):
    update, coefficients = combined(name, AGREE)
    torch.testing.assert_close(coefficients, torch.ones(3, dtype=torch.float64), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(update, AGREE.sum(0), rtol=1e-6, atol=1e-6)


def test_pcgrad_by_hand():
    # a loses its part along b: (1,0) + (-1,1)/2 = (.5,.5); b loses its part along a: (0,1)
    torch.testing.assert_close(combined("pcgrad", CONFLICT)[0], torch.tensor([0.5, 1.5]))


def test_upgrad_and_dualproj_by_hand():
    # The dual cone of the two rows is y >= x >= 0: a projects to (.5,.5), b to (0,1), their sum (0,1) to itself.
    torch.testing.assert_close(combined("upgrad", CONFLICT)[0], torch.tensor([0.5, 1.5]))
    torch.testing.assert_close(combined("dualproj", CONFLICT)[0], torch.tensor([0.0, 1.0]))


def test_gradvac_in_its_first_step_is_pcgrad_and_then_pulls_to_the_usual_angle():
    scheme = build("gradvac", 2, 2, beta=1.0)
    torch.testing.assert_close(again(scheme, CONFLICT)[0], combined("pcgrad", CONFLICT)[0])
    cosine = -(0.5**0.5)
    torch.testing.assert_close(scheme.usual[0, 1], torch.tensor(cosine, dtype=torch.float64))
    torch.testing.assert_close(again(scheme, CONFLICT)[0], CONFLICT.sum(0))


def test_gradvac_reaches_the_target_angle_exactly():
    scheme = build("gradvac", 2, 3)
    scheme.usual.fill_(0.6)
    jacobian = torch.tensor([[2.0, 0.0, 0.0], [0.5, 1.0, 0.0]])
    _, coefficients = again(scheme, jacobian)
    # Each task adds the other's gradient so that their cosine becomes 0.6; recover both and check.
    scheme.usual.fill_(0.6)
    own = build("gradvac", 2, 3)
    own.usual[0, 1], own.usual[1, 0] = 0.6, -1.0
    changed = again(own, jacobian)[0] - jacobian[1]
    torch.testing.assert_close(torch.cosine_similarity(changed, jacobian[1], dim=0), torch.tensor(0.6))
    assert (coefficients > 1).all()


def test_gradvac_equals_torchjd_for_two_tasks():
    scheme, library = build("gradvac", 2, 20, beta=0.3), aggregation.GradVac(beta=0.3)
    for seed in range(10):
        jacobian = random_jacobian(seed, rows=2)
        torch.testing.assert_close(again(scheme, jacobian)[0], library(jacobian), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_mgda_is_the_shortest_vector_of_the_hull(seed):
    jacobian = random_jacobian(seed, shift=0.3)
    update, coefficients = combined("mgda", jacobian)
    assert coefficients.sum() == pytest.approx(3.0, abs=1e-5)
    assert (coefficients >= 0).all()
    grid = [w for w in itertools.product(np.linspace(0, 1, 41), repeat=2) if sum(w) <= 1]
    shortest = min((torch.tensor([a, b, 1 - a - b]).float() @ jacobian).norm() for a, b in grid)
    assert update.norm() / 3 <= shortest * 1.005


def test_mgda_for_two_tasks_by_hand():
    # min over the segment between (2, 0) and (0, 1): weights 1/5 and 4/5
    _, coefficients = combined("mgda", torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    torch.testing.assert_close(coefficients, torch.tensor([0.4, 1.6], dtype=torch.float64))


def test_cagrad_radius_0_is_the_sum_and_otherwise_the_worst_task_gains():
    jacobian = random_jacobian(2)
    torch.testing.assert_close(combined("cagrad", jacobian, c=0.0)[0], jacobian.sum(0))
    mean = jacobian.mean(0)
    update = combined("cagrad", jacobian, c=0.5, rescale=False)[0] / 3
    assert (jacobian @ update).min() > (jacobian @ mean).min()
    torch.testing.assert_close((update - mean).norm(), 0.5 * mean.norm())
    # The authors' code divides by 1 + c^2.
    torch.testing.assert_close(combined("cagrad", jacobian, c=0.5)[0], 3 * update / 1.25)


def test_imtl_g_projects_equally_onto_all_unit_gradients():
    jacobian = random_jacobian(1, shift=0.5)
    update, coefficients = combined("imtl_g", jacobian)
    projections = (jacobian / jacobian.norm(dim=1, keepdim=True)) @ update
    torch.testing.assert_close(projections, projections[:1].expand(3), rtol=1e-3, atol=1e-4)
    assert coefficients.sum() == pytest.approx(3.0)


def test_aligned_mtl_leaves_out_directions_without_length():
    # Two equal gradients and one across: singular values sqrt(2), 1 and 0; the first is brought to the length 1.
    update, _ = combined("aligned_mtl", torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    torch.testing.assert_close(update, torch.tensor([2**0.5, 1.0]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["pcgrad", "gradvac", "graddrop", "upgrad", "dualproj", "aligned_mtl", "pcd", "cagrad", "moco", "mgda"]
)
def test_gradients_that_are_zero_move_nothing(name):
    update, coefficients = combined(name, torch.zeros(2, 3))
    assert not update.any() and coefficients.isfinite().all()
    update, coefficients = combined(name, torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    assert update[0] >= 0 and update[1] == 0 and coefficients.isfinite().all()


def test_aligned_mtl_is_the_smallest_singular_value_times_the_polar_factor():
    jacobian = random_jacobian(3)
    U, S, V = torch.linalg.svd(jacobian, full_matrices=False)
    torch.testing.assert_close(combined("aligned_mtl", jacobian)[0], (S[-1] * U @ V).sum(0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "jacobian", "wanted"),
    [
        # d = (.6, .6, -.6) projects to .6 onto e1, e2 and (2, 2, 1) / 3, and is a sum with coefficients adding up to 3.
        ("imtl_g", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [2.0, 2.0, 1.0]], [1.8, 1.8, -0.6]),
        # The nearest rotation has tan = 1 / 10.5; s times the sum of its rows, solved for the coefficients by hand.
        ("aligned_mtl", [[10.0, 0.0], [1.0, 0.5]], [-0.0354, 0.8962]),
        # Unit gradients' inverse Gramian times 1 is proportional to (3, 3, -3), the lengths are 1, 1 and 3.
        ("config", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [2.0, 2.0, 1.0]], [1.0, 1.0, -1.0 / 3]),
    ],
)
def test_a_negative_coefficient_by_hand_descends_every_task_and_is_noted_as_by_design(name, jacobian, wanted):
    scheme = build(name, len(jacobian), len(jacobian))
    jacobian = torch.tensor(jacobian)
    update = scheme._update(jacobian, torch.ones(len(jacobian)), torch.arange(len(jacobian)), list(scheme.tasks))
    coefficients = torch.linalg.solve(jacobian.T, update)
    torch.testing.assert_close(coefficients / coefficients.max(), torch.tensor(wanted) / max(wanted), rtol=0, atol=1e-3)
    assert (jacobian @ update > 0).all()
    assert scheme.flags() == ["negative_by_design"]


def test_graddrop_notes_the_negative_coefficients_of_the_combination_nearest_to_it():
    scheme = build("graddrop", 2, 2)  # keeping both negative entries is minus the sum: 1 time in 9
    for scheme.steps in range(50):
        scheme._update(torch.tensor([[2.0, -1.0], [-1.0, 2.0]]), torch.ones(2), torch.arange(2), ["a", "b"])
    assert scheme.flags() == ["negative_by_design"]


def test_config_has_equal_positive_cosines_and_the_projected_length():
    jacobian = random_jacobian(4)
    update, coefficients = combined("config", jacobian)
    angles = torch.cosine_similarity(jacobian, update[None])
    torch.testing.assert_close(angles, angles[:1].expand(3), rtol=1e-3, atol=1e-4)
    assert angles[0] > 0
    torch.testing.assert_close(update.norm(), (jacobian @ (update / update.norm())).sum(), rtol=1e-4, atol=1e-4)
    # A combination of gradients: the logged coefficients give it back.
    torch.testing.assert_close(coefficients.float() @ jacobian, update, rtol=1e-3, atol=1e-3)


def test_graddrop_keeps_one_sign_an_entry_with_the_probability_of_its_purity():
    jacobian = torch.tensor([[1.0, 2.0, -1.0], [-3.0, 2.0, -1.0]]).repeat_interleave(3000, dim=1)
    entries = combined("graddrop", jacobian)[0].view(3, 3000)
    assert set(entries[0].tolist()) == {1.0, -3.0}
    assert (entries[1] == 4).all()
    assert (entries[2] == -2).all()
    assert (entries[0] == 1.0).float().mean() == pytest.approx(0.25, abs=0.04)


def test_graddrops_logged_coefficients_are_no_rounding_however_close_the_gradients():
    """Entries whose gradients have one sign are summed: the update is nearly the sum, whose coefficients are 1."""
    shared, own = random_jacobian(0, rows=1, size=5_000), random_jacobian(1, size=5_000)
    for apart in (0.0, 1e-6, 1e-5):
        jacobian = (shared + apart * own) * torch.tensor([[1.0], [1.0], [0.01]])
        scheme = build("graddrop", 3, 5_000)
        _, weights = scheme.combined(jacobian, gramian_of(jacobian), torch.ones(3), torch.arange(3))
        assert weights.tolist() == pytest.approx([1.0] * 3, abs=1e-3)


def test_nash_by_hand_and_its_norm():
    # Orthogonal gradients: a_t = 1 / ||g_t||, the update is the sum of unit vectors.
    jacobian = torch.tensor([[2.0, 0.0], [0.0, 0.1]])
    torch.testing.assert_close(combined("nash_mtl", jacobian, max_norm=9.0)[0], torch.ones(2), rtol=1e-5, atol=1e-5)
    assert combined("nash_mtl", jacobian, max_norm=0.5)[0].norm() == pytest.approx(0.5)


def test_nash_without_a_solution_diverges_with_a_sentence():
    with pytest.raises(Diverged, match="scheme 'nash_mtl', step 0: the solver failed"):
        combined("nash_mtl", torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))


@pytest.mark.parametrize(
    ("name", "solver"),
    [("upgrad", "dual_cone_projections"), ("dualproj", "dual_cone_projections"), ("cagrad", "conflict_averse"),
     ("mgda", "shortest_in_hull"), ("fairgrad", "fair_shares"), ("nash_mtl", "fair_shares"),
     ("moco", "onto_simplex"), ("modo", "onto_simplex"), ("sdmgrad", "onto_simplex")],
)  # fmt: skip
def test_a_solver_that_fails_ends_the_run_with_a_sentence(name, solver, monkeypatch):
    def fail(*given):
        raise RuntimeError("no solution")

    monkeypatch.setattr(solvers, solver, fail)
    with pytest.raises(Diverged, match=f"scheme '{name}', step 0: the solver failed: no solution"):
        combined(name, random_jacobian(0))


def test_fairgrad_with_alpha_1_is_nash():
    for scale in (1e-3, 1.0, 1e2):
        jacobian = scale * random_jacobian(5, shift=0.2)
        torch.testing.assert_close(
            combined("fairgrad", jacobian, alpha=1.0)[0],
            combined("nash_mtl", jacobian, max_norm=1e9)[0],
            rtol=1e-3,
            atol=1e-4,
        )


@pytest.mark.parametrize("name", ["mgda", "cagrad", "imtl_g", "aligned_mtl", "config", "upgrad", "dualproj", "pcgrad"])
def test_scales_with_the_gradients_however_small(name):
    """Absolute tolerances of a solver must not turn small gradients into equal weights."""
    jacobian = random_jacobian(6, shift=-0.1)
    one, other = combined(name, jacobian)[0], combined(name, 1e-4 * jacobian)[0]
    torch.testing.assert_close(1e4 * other, one, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["nash_mtl", "imtl_g", "imtl", "db_mtl", "config", "pcd"])
def test_scaling_one_loss_changes_the_update_in_length_alone(name):
    jacobian = random_jacobian(7, shift=0.2)
    scale = torch.tensor([[100.0], [1.0], [1.0]])
    one = combined(name, jacobian, LOSSES)[0]
    other = combined(name, scale * jacobian, [100 * LOSSES[0], *LOSSES[1:]])[0]
    torch.testing.assert_close(other / other.norm(), one / one.norm(), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    "name",
    ["mgda", "cagrad", "imtl_g", "nash_mtl", "aligned_mtl", "fairgrad", "config", "upgrad", "dualproj", "excess_mtl",
     "db_mtl", "gradnorm"],
)  # fmt: skip
def test_task_order_does_not_matter(name):
    jacobian, order = random_jacobian(8), [2, 0, 1]
    one, weights = combined(name, jacobian, LOSSES, steps=3)
    other, shuffled = combined(name, jacobian[order], [LOSSES[i] for i in order], steps=3)
    torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shuffled, weights[order], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["upgrad", "dualproj", "mgda", "nash_mtl", "fairgrad", "config", "pivrg"])
def test_no_task_is_ascended(name):
    for seed in range(20):
        jacobian = random_jacobian(seed, rows=4, size=6)
        update = combined(name, jacobian)[0]
        assert (jacobian @ update).min() > -1e-5 * jacobian.norm() * update.norm()


@pytest.mark.parametrize(
    ("name", "jacobian"),
    [
        # At more than 135 degrees, the shorter gradient: G^(1/2) (1, 1) is negative for it.
        ("aligned_mtl", [[1.0, 0.0], [-0.09, 0.04]]),
        # The other task is granted a gain that the primary one, opposed to it, has to pay for.
        ("pcd", [[1.0, 0.0], [-1.0, 0.0]]),
        # C^-1 1 is proportional to (3, 3, -3): with the lengths 1, 1 and 0.3, the shares sum to less than 0.
        ("imtl_g", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.2, 0.2, 0.1]]),
    ],
)
def test_these_may_ascend_a_task_as_their_caveats_say(name, jacobian):
    jacobian = torch.tensor(jacobian)
    assert (jacobian @ combined(name, jacobian)[0]).min() < -1e-3 * jacobian.norm(dim=1).min()


@pytest.mark.parametrize("size", [50, 400_000])
@pytest.mark.parametrize("factor", [1.0, 0.3])
def test_aligned_mtl_of_gradients_along_one_line_is_their_sum_whatever_rounding_makes_of_it(size, factor):
    """With rank 1 there is one singular value; that of rounding, 1e-8 of it, used to shorten the update to nothing."""
    one = random_jacobian(0, rows=1, size=size)[0]
    jacobian = torch.stack([one, factor * one])
    scheme = build("aligned_mtl", 2, size)
    update, _ = scheme.combined(jacobian, gramian_of(jacobian), torch.ones(2), torch.arange(2))
    torch.testing.assert_close(update, jacobian.sum(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["imtl", "imtl_g", "gradnorm", "aligned_mtl", "config", "pcd", "excess_mtl", "moco"])
def test_a_step_without_any_gradient_changes_nothing_and_harms_no_later_one(name):
    scheme, jacobian = build(name, 2, 20), random_jacobian(0, rows=2)
    for rows in (0 * jacobian, jacobian, 0 * jacobian):
        update, weights = again(scheme, rows, [1.0, 2.0])
        assert update.isfinite().all()
        assert weights.isfinite().all()
        assert bool(update.any()) == bool(rows.any()) or name == "moco"  # which remembers past gradients


def test_gradnorm_by_hand():
    # norms 2 and 1, equal progress: targets 1.5; task a is above, task b below; step 0.1 * norm / 1.5
    scheme = build("gradnorm", 2, 2, rate=0.1)
    jacobian = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    _, first = again(scheme, jacobian, [1.0, 1.0])
    assert first.tolist() == [1.0, 1.0]
    a, b = 1 - 0.1 * 2 / 1.5, 1 + 0.1 * 1 / 1.5
    _, second = again(scheme, jacobian, [1.0, 1.0])
    assert second.tolist() == pytest.approx([2 * a / (a + b), 2 * b / (a + b)])


def test_gradnorm_balances_norms_and_favours_the_slow_task():
    scheme = build("gradnorm", 2, 2, rate=0.01)
    jacobian = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    _, weights = again(scheme, jacobian, [1.0, 1.0], steps=300)
    assert (weights * torch.tensor([2.0, 1.0])).tolist() == pytest.approx([4 / 3, 4 / 3], abs=0.05)
    _, slower = again(scheme, jacobian, [1.0, 0.2], steps=300)
    assert slower[0] > weights[0] + 0.1


def test_excess_mtl_equals_torchjd_after_the_first_step():
    """torchjd takes the first step's risk without dividing it by itself; from there on the recursion is the same."""
    scheme, library = build("excess_mtl", 3, 20, step=0.5), aggregation.ExcessMTLWeighting(0.5)
    library(random_jacobian(0))
    again(scheme, random_jacobian(0))
    library._weights = scheme.simplex.shares.float()
    for seed in range(1, 5):
        _, weights = again(scheme, random_jacobian(seed))
        torch.testing.assert_close(weights.float() / 3, library(random_jacobian(seed)), rtol=1e-3, atol=1e-4)


def test_db_mtl_by_hand():
    jacobian = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    # gradients of the logarithms (4, 0) and (0, .25): both get the larger length, 4
    update, coefficients = combined("db_mtl", jacobian, [0.5, 4.0], beta=0.0)
    torch.testing.assert_close(update, torch.tensor([4.0, 4.0]))
    assert coefficients.tolist() == [2.0, 4.0]


def test_a_gradient_of_length_zero_is_the_shortest_under_any_normalisation():
    jacobian = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    for normalisation in ("none", "l2", "loss", "loss+"):
        assert combined("mgda", jacobian, normalisation=normalisation)[1].tolist() == [2, 0], normalisation


def test_imtl_adds_up_the_gradients_of_its_log_weights_over_micro_batches():
    scheme = build("imtl", 2, 2)
    for losses in ([3.0, 1.0], [2.0, 0.5]):
        scheme.weights(torch.eye(2).double(), torch.tensor(losses), torch.arange(2))
    assert scheme.log_weight.grad.tolist() == pytest.approx([2 + 1, 0 - 0.5])


def test_pcd_keeps_to_the_primary_task_where_the_others_cannot_all_gain():
    _, coefficients = combined("pcd", torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), primary="a")
    assert coefficients.tolist() == [1, 0, 0]


def test_db_mtls_share_of_the_past_falls_with_the_steps():
    # Shares of the past 1/2, 1/4 and 1/6: of equal gradients, h lacks their product 1/48.
    update, _ = combined("db_mtl", torch.tensor([[1.0, 0.0], [0.0, 2.0]]), steps=3, beta=0.5, beta_sigma=1.0)
    torch.testing.assert_close(update, torch.full((2,), 2 * 47 / 48))


def test_excess_mtls_weights_of_the_tasks_present_sum_to_their_number():
    scheme = build("excess_mtl", 3, 4)
    scheme.simplex.shares.copy_(torch.tensor([0.5, 0.3, 0.2]))
    assert scheme.other_weights(torch.ones(2), torch.tensor([0, 1])).tolist() == pytest.approx([1.25, 0.75])


def test_db_mtl_never_has_a_negative_coefficient_whatever_its_running_means_remember():
    scheme = build("db_mtl", 3, 20)
    for seed in range(30):
        assert (again(scheme, random_jacobian(seed), LOSSES)[1] > 0).all()


@pytest.mark.parametrize(
    ("name", "kept", "changed"),
    [("gradvac", "usual", "usual"), ("excess_mtl", "squares", "squares"), ("db_mtl", "running", "running"),
     ("gradnorm", "first", "task_weights"), ("moco", "tracked", "tracked"), ("moco", "simplex.shares", "tracked"),
     ("modo", "previous.rows", "previous.rows"), ("modo", "simplex.shares", "previous.rows"),
     ("sdmgrad", "previous.rows", "previous.rows"), ("sdmgrad", "simplex.shares", "previous.rows"),
     ("pcd", "squares", "squares"), ("imtl", "log_weight", "log_weight")],
)  # fmt: skip
def test_the_state_of_an_absent_task_stays(name, kept, changed):
    scheme = build(name, 3, 20)
    again(scheme, random_jacobian(0), LOSSES)
    before = {key: value.clone() for key, value in scheme.state_dict().items() if isinstance(value, torch.Tensor)}
    again(scheme, random_jacobian(1, rows=2), LOSSES[:2], present=[0, 2])
    after = scheme.state_dict()
    assert torch.equal(after[kept][1], before[kept][1])
    assert not torch.equal(after[changed][0], before[changed][0])


@pytest.mark.parametrize("normalisation", ["none", "l2", "loss", "loss+"])
def test_mgda_divides_the_gradients_by_their_length_their_loss_or_both(normalisation):
    """By hand: the shortest vector between two gradients, after Sener and Koltun's `gradient_normalizers`."""
    jacobian, losses = torch.tensor([[10.0, 1.0, 0.0], [0.1, -1.0, 1.0]]), [8.0, 0.2]
    lengths = jacobian.double().norm(dim=1)
    values = torch.tensor(losses, dtype=torch.float64)
    divisors = {"none": torch.ones(2), "l2": lengths, "loss": values, "loss+": lengths * values}[normalisation]
    one, other = jacobian.double() / divisors[:, None]
    share = float(((other - one) @ other / (other - one).square().sum()).clamp(0, 1))
    _, coefficients = combined("mgda", jacobian, losses, normalisation=normalisation)
    assert coefficients.tolist() == pytest.approx([2 * share, 2 * (1 - share)], rel=1e-5, abs=1e-9)


def test_the_weight_of_an_absent_task_does_not_drift_under_excess_mtl():
    scheme = build("excess_mtl", 4, 20)
    for step in range(50):
        again(scheme, random_jacobian(step), [1.0, 2.0, 0.5], [0, 1, 3])
    assert float(scheme.simplex.shares[2]) == pytest.approx(0.25)
    assert float(scheme.simplex.shares.sum()) == pytest.approx(1.0)
    assert float(scheme.simplex.shares.max()) > 0.253


@pytest.mark.parametrize("name", ["excess_mtl", "gradnorm"])
def test_a_zero_in_the_first_step_is_no_unit(name):
    """A binary task without a positive pixel in the first batch: no loss and no gradient, but later it has both."""
    jacobian, losses = random_jacobian(0), [1.0, 2.0, 0.5]
    idle = jacobian * torch.tensor([[1.0], [1.0], [0.0]])
    scheme = build(name, 3, 20)
    again(scheme, idle, [1.0, 2.0, 0.0])
    assert scheme.first.isnan().tolist() == [False, False, True]
    again(scheme, jacobian, losses, steps=100)
    assert (scheme.first > 0).all()
    weights = scheme.simplex.shares * 3 if name == "excess_mtl" else scheme.task_weights
    assert weights.isfinite().all()
    assert weights.min() > 0.05
    assert float(weights.sum()) == pytest.approx(3.0, rel=1e-5)


def test_the_weight_of_a_task_without_a_unit_stays_under_gradnorm():
    scheme, jacobian = build("gradnorm", 3, 20), random_jacobian(0) * torch.tensor([[9.0], [1.0], [0.0]])
    _, weights = again(scheme, jacobian, [1.0, 2.0, 0.0], steps=50)
    assert weights[2] == 1.0
    assert weights[0] < 0.5 < 1.5 < weights[1]


def test_the_weights_of_excess_mtl_are_those_it_chose_however_close_the_gradients():
    """They used to be read back from the update, which nearly dependent gradients leave open."""
    shared = random_jacobian(0, rows=1, size=5_000)
    jacobian = shared + 1e-4 * random_jacobian(1, size=5_000)
    _, weights = combined("excess_mtl", jacobian)
    torch.testing.assert_close(weights, torch.ones(3, dtype=torch.float64))


def test_excess_mtl_goes_on_with_tasks_whose_weight_has_become_0():
    scheme, jacobian = build("excess_mtl", 3, 20, step=1.0), random_jacobian(0)
    again(scheme, jacobian)
    again(scheme, jacobian * torch.tensor([[1e6], [1.0], [1.0]]))
    assert scheme.simplex.shares.tolist() == [1.0, 0.0, 0.0]
    update, weights = again(scheme, jacobian[1:], present=[1, 2])
    torch.testing.assert_close(update, jacobian[1:].sum(0))
    assert weights.tolist() == pytest.approx([1.0, 1.0])


def test_a_task_without_a_gradient_has_no_weight_in_moco():
    jacobian = random_jacobian(0) * torch.tensor([[1.0], [1.0], [0.0]])
    _, weights = combined("moco", jacobian, LOSSES, steps=3)
    assert weights[2] == 0
    assert weights.max() < 100


def test_db_mtl_refuses_a_zero_loss_in_any_micro_batch():
    scheme = build("db_mtl", 2, 5)
    with pytest.raises(Diverged, match=r"task 'b'.*the loss is 0.0, and this scheme needs positive losses"):
        scheme.other_weights(torch.tensor([1.0, 0.0]), torch.arange(2))
