"""Two processes that train together: what one process would do with the whole batch."""

import math

import pytest
import torch
import two_processes
from two_processes import configuration, halves, in_two_processes, trained

from mtcp.core import plugins
from mtcp.core.code_digest import code_closure
from mtcp.core.errors import UserError
from mtcp.core.plugins import PACKAGE_ROOT
from mtcp.training.group import Group
from mtcp.training.together import SharedStepper
from mtcp.training.whole_batch_norm import synchronise
from mtcp.weighting.base import build_scheme

SCHEMES = sorted(plugins.find("scheme"))


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Every scheme with BatchNorm over both processes, and one with BatchNorm in each."""
    cases = {name: (configuration(name, synchronised=True), False) for name in SCHEMES}
    cases["alone"] = (configuration(), True)
    cases["adamw, clipped"] = (configuration(synchronised=True, optimiser="adamw", clip_norm=0.5), False)
    return in_two_processes(cases, tmp_path_factory.mktemp("two"))


def assert_close(found: list, wanted: list, rtol: float = 1e-3, atol: float = 1e-4) -> None:
    for one, other in zip(found[0], wanted[0], strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-5), "losses"
    for one, other in zip(found[1:3], wanted[1:3], strict=True):
        for name, value in one.items():
            torch.testing.assert_close(
                value, other[name], rtol=rtol, atol=atol, equal_nan=True, msg=lambda text, n=name: f"{n}: {text}"
            )
    assert found[3] == pytest.approx(wanted[3], rel=1e-2, abs=1e-3, nan_ok=True), "weights, cosines, conflicts"


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMES)
def test_a_step_is_that_of_one_process_with_the_whole_batch(processes, name: str) -> None:
    """With unequal numbers of valid pixels, a task that one process lacks, and an imbalance that differs."""
    assert_close(processes[0][name], trained(configuration(name)))


@pytest.mark.slow
def test_the_optimiser_and_clipping_see_the_whole_batch(processes) -> None:
    config = configuration(optimiser="adamw", clip_norm=0.5)
    # Adam divides a gradient by its own length: where it is nearly 0, its rounding becomes a step.
    assert_close(processes[0]["adamw, clipped"], trained(config), atol=2e-2)


@pytest.mark.slow
def test_with_batch_norm_in_each_process_it_is_one_process_that_accumulates_both_halves(processes) -> None:
    found = processes[0]["alone"]
    wanted = trained(configuration(batch_size=2, accumulate=2), whole=True, accumulate=True)
    means = [
        {task: (a[task] + b[task]) / 2 for task in a} for a, b in zip(wanted[0][::2], wanted[0][1::2], strict=True)
    ]
    for one, other in zip(found[0], means, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    learned = {name: value for name, value in found[1].items() if "running" not in name and "tracked" not in name}
    for name, value in learned.items():
        torch.testing.assert_close(value, wanted[1][name], rtol=1e-3, atol=1e-5)
    whole = trained(configuration(), whole=True)
    assert not math.isclose(found[0][-1]["semseg"], whole[0][-1]["semseg"], rel_tol=1e-4), "BatchNorm sees two images"


@pytest.mark.slow
def test_both_processes_hold_the_same_bits(processes) -> None:
    first, second = processes
    for name, found in first.items():
        for one, other in zip(found[1:3], second[name][1:3], strict=True):
            assert all(torch.equal(value, other[key]) or value.isnan().any() for key, value in one.items()), name
        assert found[0] == second[name][0], name


def test_shares_are_equal_runs_of_the_batch() -> None:
    whole = two_processes.batch(0)
    first, second = halves(whole)
    assert (first.ids, second.ids) == (("a", "b"), ("c", "d"))
    assert torch.equal(torch.cat([first.image, second.image]), whole.image)
    assert torch.equal(torch.cat([first.targets["sal"], second.targets["sal"]]), whole.targets["sal"])


def test_gradients_of_the_representation_are_refused_by_name() -> None:
    config = configuration("mgda")
    config = config.model_copy(
        update={"scheme": config.scheme.model_copy(update={"shared_parameters": "representation"})}
    )
    network = two_processes.build_network(config)
    context = two_processes.SchemeContext(tuple(two_processes.TASKS), 7, 4, 3, (32, 48), network)
    with pytest.raises(UserError, match=r"scheme 'mgda' with `shared_parameters: representation`.*choose `encoder`"):
        SharedStepper(config, network, build_scheme(config, context), torch.device("cpu"), Group(0, 2))


def test_an_unknown_normalisation_is_refused_where_it_would_be_synchronised() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.InstanceNorm2d(4), torch.nn.BatchNorm1d(4))
    with pytest.raises(UserError, match="Sequential has the layer BatchNorm1d"):
        synchronise(network, Group(0, 2))


def test_keys_of_runs_in_one_process_do_not_hash_what_several_need() -> None:
    alone = set(code_closure([PACKAGE_ROOT / "mtcp/training/loop.py"]))
    together = set(code_closure([PACKAGE_ROOT / "mtcp/training/together.py"]))
    new = {f"mtcp.training.{name}" for name in ("together", "group", "whole_losses", "whole_batch_norm")}
    assert alone & new == set()
    assert together >= alone | new
