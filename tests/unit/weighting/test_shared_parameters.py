"""Which parameters a gradient scheme combines, and that everything else gets the plain gradient."""

import pytest
import torch

from mtcp.core import plugins
from mtcp.core.errors import UserError
from mtcp.weighting.diagnostics import cosines
from mtcp.weighting.samples import PreviousGradients
from mtcp.weighting.shared import products_of, reachability, shared_parameters_of


def names(run, shared):
    own = {id(parameter): name for name, parameter in run.network.named_parameters()}
    return {own[id(parameter)] for parameter in shared_parameters_of(run.network, run.context.size, shared)}


ENCODER = {"stem.0.weight", "stem.0.bias", "stem.1.weight", "stem.1.bias"}
DECODERS = {f"decoders.{task}.{part}" for task in ("semseg", "depth", "normals") for part in ("weight", "bias")}


def test_encoder_is_what_lies_upstream_of_the_representation(bench):
    assert names(bench("equal", fused=True), "encoder") == ENCODER


def test_of_the_encoder_counts_what_affects_one_output_or_more(bench):
    run = bench("equal")
    run.network.stem.spare = torch.nn.Parameter(torch.ones(2))
    run.network.encoder = torch.nn.ModuleList([run.network.stem, run.network.decoders["depth"]])
    assert names(run, "encoder") == ENCODER | {"encoder.1.weight", "encoder.1.bias"}, "of depth's decoder"


def test_all_shared_is_found_by_reachability(bench):
    assert names(bench("equal"), "all_shared") == ENCODER
    assert names(bench("equal", fused=True), "all_shared") == ENCODER | DECODERS


def test_all_but_heads_counts_what_belongs_to_one_task(bench):
    assert names(bench("equal"), "all_but_heads") == ENCODER | DECODERS
    run = bench("mgda", shared_parameters="all_but_heads")
    losses, representation = run.losses(0)
    inside = [*run.network.stem.parameters(), *run.network.decoders["depth"].parameters()]
    expected = torch.autograd.grad(losses["depth"], inside, retain_graph=True)
    seen = {}
    run.scheme.weights = lambda gramian, values, present: (seen.update(gramian=gramian), torch.ones(3))[1]
    run.scheme.backward(losses, None, representation, 1.0)
    assert seen["gramian"][1, 1].item() == pytest.approx(
        sum(g.double().square().sum().item() for g in expected), rel=1e-5
    )


def test_reachability_leaves_running_statistics_and_modes_as_they_are(bench):
    network = bench("equal").network.train()
    network.decoders.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    reach = reachability(network, (8, 8))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert network.heads["depth"].weight in reach["depth"]
    assert network.heads["depth"].weight not in reach["semseg"]
    assert all(parameter.grad is None for parameter in network.parameters())


def test_frozen_parameters_are_in_no_shared(bench):
    run = bench("equal")
    run.network.encoder[0].requires_grad_(False)
    assert names(run, "encoder") == {"stem.1.weight", "stem.1.bias"}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("shared", ["encoder", "all_shared", "all_but_heads", "representation"])
def test_every_choice_gives_the_plain_gradient_where_nothing_is_weighed(shared, fused, bench, monkeypatch):
    wanted = bench("equal", fused).gradients(auxiliary=True)
    run = bench("mgda", fused, shared_parameters=shared)
    monkeypatch.setattr(run.scheme, "weights", lambda gramian, losses, present: torch.ones(len(gramian)))
    got = run.gradients(auxiliary=True)
    assert got.keys() == wanted.keys()
    for key in wanted:
        torch.testing.assert_close(got[key], wanted[key], rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.parametrize("auxiliary", [False, True])
@pytest.mark.parametrize("shared", ["encoder", "all_shared", "all_but_heads", "representation"])
def test_coefficients_act_on_the_shared_parameters_and_nowhere_else(shared, auxiliary, bench, monkeypatch):
    weights = torch.tensor([2.0, -1.0, 0.5])
    run = bench("mgda", True, shared_parameters=shared)
    monkeypatch.setattr(run.scheme, "weights", lambda gramian, losses, present: weights)
    got = run.gradients(auxiliary=auxiliary)
    plain = bench("equal", True)
    losses, _ = plain.losses(0)
    extra = 0.5 * sum(losses.values()) ** 2 if auxiliary else 0.0
    parameters = dict(plain.network.named_parameters())
    keep = {"retain_graph": True, "allow_unused": True}
    weighed = torch.autograd.grad((weights * torch.stack(list(losses.values()))).sum() + extra,
                                  parameters.values(), **keep)  # fmt: skip
    summed = torch.autograd.grad(sum(losses.values()) + extra, parameters.values(), **keep)
    inside = ENCODER if shared in ("encoder", "representation") else ENCODER | DECODERS
    for key, one, other in zip(parameters, weighed, summed, strict=True):
        if key in got:
            torch.testing.assert_close(got[key], one if key in inside else other, rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.parametrize("name", ["gradnorm", "excess_mtl", "db_mtl"])
def test_schemes_of_loss_weights_weigh_the_other_parameters_too(name, bench):
    run = bench(name)
    for step in range(3):
        run.step(step)
    losses, _ = run.losses(3)
    head = run.network.heads["depth"].weight
    (own,) = torch.autograd.grad(losses["depth"], head)
    got = run.gradients(step=3)["heads.depth.weight"]
    factor = (
        1 / losses["depth"].item() if name == "db_mtl" else run.scheme.other_weights(torch.ones(3), torch.arange(3))[1]
    )
    torch.testing.assert_close(got, own * factor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shared", ["encoder", "representation"])
def test_an_architecture_without_an_encoder_is_refused(shared, bench):
    context = bench("equal").context
    context.network.encoder = None
    options = plugins.parameters("scheme", "pcgrad", {"shared_parameters": shared})
    with pytest.raises(UserError, match=rf"scheme 'pcgrad' .* '{shared}' has none in this architecture"):
        plugins.load("scheme", "pcgrad")(context, options)


def test_cosines():
    gramian = torch.tensor([[4.0, -2.0, 0.0], [-2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).double()
    torch.testing.assert_close(cosines(gramian)[0], torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64))


def test_cosines_and_conflict_are_recorded_for_every_pair(bench):
    run = bench("pcgrad")
    for step in range(3):
        run.step(step)
    run.scheme.close_epoch()
    record = run.scheme.record()
    pairs = [name for name in record if name.startswith("cosine_")]
    assert pairs == ["cosine_semseg_depth", "cosine_semseg_normals", "cosine_depth_normals"]
    assert all(-1 <= record[pair] <= 1 for pair in pairs)
    assert 0 <= record["conflict_share"] <= 1


@pytest.mark.parametrize("shared", ["encoder", "all_shared", "representation"])
def test_half_precision_activations(shared, bench):
    run = bench("pcgrad", True, shared_parameters=shared)
    with torch.autocast("cpu", torch.bfloat16):
        losses, representation = run.losses(0)
    assert representation.dtype == torch.bfloat16
    run.scheme.backward({task: loss.float() for task, loss in losses.items()}, None, representation, 1.0)
    assert all(p.grad.dtype == torch.float32 for p in run.network.parameters() if p.grad is not None)
    assert run.network.stem[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("shared", ["encoder", "all_shared", "representation"])
def test_gradients_take_the_strides_of_their_parameters(shared, bench):
    run = bench("pcgrad", True, shared_parameters=shared)
    run.network.to(memory_format=torch.channels_last)
    losses, representation = run.losses(0)
    run.scheme.backward(losses, None, representation, 1.0)
    for name, parameter in run.network.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.stride() == parameter.stride(), name


@pytest.mark.parametrize("columns", [5, 2**15, 2 * 2**15 + 7])
def test_products_of_jacobians_are_exact_in_any_number_of_pieces(columns):
    one, other = torch.randn(3, columns), torch.randn(3, columns)
    expected = one.double() @ other.double().T
    torch.testing.assert_close(products_of(one, other), expected, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(products_of(one, one), one.double() @ one.double().T, rtol=1e-12, atol=1e-9)


def test_the_gradients_before_are_those_of_each_task_s_last_step():
    """Also where a task was absent; before its first gradients a task stands for itself."""
    draws, every = [torch.randn(2, 6, dtype=torch.float64).float() for _ in range(3)], torch.arange(2)
    before, last = PreviousGradients(2, 6), torch.tensor([1])
    first, second, third = draws
    torch.testing.assert_close(before.products(first, every), products_of(first, first))
    torch.testing.assert_close(before.products(second[1:], last), products_of(second[1:], first[1:]))
    torch.testing.assert_close(before.products(third, every), products_of(third, torch.stack([first[0], second[1]])))
    torch.testing.assert_close(before.products(first, every), products_of(first, third))
