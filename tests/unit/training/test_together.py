"""Two processes that train together: what one process would do with the whole batch."""

import math

import pytest
import torch
import two_processes
from torch import Tensor
from two_processes import configuration, in_two_processes, trained

from mtcp.core.code_digest import code_closure
from mtcp.core.errors import UserError
from mtcp.core.plugins import PACKAGE_ROOT
from mtcp.core.run_config import RunConfig
from mtcp.models.architecture import build_network
from mtcp.training import together
from mtcp.training.group import Group
from mtcp.training.together import SharedStepper
from mtcp.training.whole_batch_norm import synchronise
from mtcp.weighting.base import build_scheme

#: One of each kind of state and of look at losses or gradients; no scheme has code of its own for several processes.
SCHEMES = (
    "auto_lambda", "equal", "famo", "graddrop", "gradnorm", "igb_v2", "lps", "mgda", "moco", "modo", "pcgrad", "rlw",
    "uncertainty",
)  # fmt: skip


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Schemes with BatchNorm over both processes, and one with BatchNorm in each."""
    cases = {name: (configuration(name, synchronised=True), False) for name in SCHEMES}
    cases["alone"] = (configuration(), True)
    cases["auxiliary outputs"] = (configuration(architecture="mtcp", synchronised=True), False)
    cases["clipped"] = (configuration(synchronised=True, clip_norm=0.05), False)
    return in_two_processes(cases, tmp_path_factory.mktemp("two"))


def learned(config: RunConfig, state: dict[str, Tensor]) -> Tensor:
    return torch.cat([state[name].flatten() for name, _ in build_network(config).named_parameters()])


def error(config: RunConfig, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """How far parameters are from those that they should be, relative to how far training has moved those."""
    goal, start = learned(config, wanted), learned(config, build_network(config).state_dict())
    return float((learned(config, found) - goal).norm() / (goal - start).norm())


def assert_close(config: RunConfig, found: list, wanted: list) -> None:
    for one, other in zip(found[0], wanted[0], strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-5), "losses"
    assert error(config, found[1], wanted[1]) < 0.01
    for name, value in (found[1] | found[2]).items():  # running statistics, and what the scheme has learnt
        other = (wanted[1] | wanted[2])[name]
        torch.testing.assert_close(value, other, rtol=1e-2, atol=1e-3, equal_nan=True, msg=name)
    assert found[3] == pytest.approx(wanted[3], rel=1e-2, abs=1e-3, nan_ok=True), "weights, cosines, conflicts"


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMES)
def test_a_step_is_that_of_one_process_with_the_whole_batch(processes, name: str) -> None:
    """With unequal numbers of valid pixels, a task that one process lacks, and an imbalance that differs."""
    config = configuration(name)
    assert_close(config, processes[0][name], trained(config))


@pytest.mark.slow
def test_so_it_is_with_auxiliary_outputs(processes) -> None:
    config = configuration(architecture="mtcp")
    assert_close(config, processes[0]["auxiliary outputs"], trained(config))


@pytest.mark.slow
def test_clipping_sees_the_whole_batch(processes) -> None:
    config = configuration(clip_norm=0.05)
    wanted = trained(config)
    assert_close(config, processes[0]["clipped"], wanted)
    assert error(config, trained(configuration())[1], wanted[1]) > 0.1, "gradients are longer than that"


@pytest.mark.slow
def test_with_batch_norm_in_each_process_it_is_one_process_that_accumulates_both_halves(processes) -> None:
    found = processes[0]["alone"]
    wanted = trained(configuration(batch_size=2, accumulate=2), whole=True, accumulate=True)
    means = [
        {task: (a[task] + b[task]) / 2 for task in a} for a, b in zip(wanted[0][::2], wanted[0][1::2], strict=True)
    ]
    for one, other in zip(found[0], means, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    assert error(configuration(), found[1], wanted[1]) < 0.01
    whole = trained(configuration(), whole=True)
    assert not math.isclose(found[0][-1]["semseg"], whole[0][-1]["semseg"], rel_tol=1e-4), "BatchNorm sees two images"


@pytest.mark.slow
def test_both_processes_hold_the_same_bits(processes) -> None:
    first, second = processes
    for name, found in first.items():
        for one, other in zip(found[1:3], second[name][1:3], strict=True):
            for key, value in one.items():
                torch.testing.assert_close(value, other[key], rtol=0, atol=0, equal_nan=True)
        assert found[0] == second[name][0], name


def test_every_process_asks_the_loader_for_its_own_share(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(together, "training_batches", lambda *arguments: asked.append(arguments) or iter(()))
    for rank in (0, 1):
        loop = together._SharedLoop.__new__(together._SharedLoop)
        loop.split, loop.config, loop.device, loop.group = "split", "config", "cpu", Group(rank, 2)
        assert list(loop._batches(3, 1)) == []
    assert asked == [("split", "config", 3, 1, "cpu", (rank, 2)) for rank in (0, 1)]


def test_gradients_of_the_representation_are_refused_by_name() -> None:
    config = configuration("mgda")
    config = config.model_copy(
        update={"scheme": config.scheme.model_copy(update={"shared_parameters": "representation"})}
    )
    network = build_network(config)
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
