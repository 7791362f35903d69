"""Cost of every weighting scheme relative to equal weights: seconds per step and peak memory, in one process.

`pytest tests/benchmarks/test_schemes.py -s` prints the table; the figures are ratios, so that they mean the same on
any machine. Networks and shapes are those of `rooms`, on random images.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from mtcp.core import plugins
from mtcp.core.project import Project
from mtcp.core.run_config import PluginConfig, RunConfig
from mtcp.core.usage import forget_peak_memory, peak_memory_mb
from mtcp.models.architecture import build_network
from mtcp.training.losses import batch_losses, weighed_losses
from mtcp.weighting import solvers
from mtcp.weighting.base import SchemeContext, build_scheme

ROOT = Path(__file__).parents[2]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ROUNDS = 7
SCHEMES = sorted(plugins.find("scheme"))


def cost(name: str) -> str:
    return plugins.load("scheme", name).cost


def configuration(scheme: str, architecture: str = "mtcp", tasks: int = 4, **given: object) -> RunConfig:
    config = Project(ROOT).resolve("rooms", "mtcp_equal", 0)
    kept = dict(list(config.tasks.items())[:tasks])
    if scheme == "fixed":
        given = {"weights": dict.fromkeys(kept, 1.0)}
    if scheme == "igb_v2":  # its agent learns and acts from the second epoch on
        given = {"base_epoch": 0, "learning_from": 1, "random_epochs": 1}
    return config.model_copy(
        update={
            "tasks": kept,
            "architecture": PluginConfig(name=architecture),
            "scheme": PluginConfig(name=scheme, **given),
        }
    )


def stepper(config: RunConfig, diagnostics_every: int = 0) -> Callable[[], None]:
    """Return a function that does one whole training step: forward, backward through the scheme, optimiser."""
    torch.manual_seed(0)
    network = build_network(config).to(DEVICE).train()
    tasks = tuple(task.name for task in config.task_list)
    context = SchemeContext(
        tasks, 0, 2, 1, (config.height, config.width), network, diagnostics_every, lambda number: losses()[0]
    )
    scheme = build_scheme(config, context, ROOT).to(DEVICE)
    scheme.close_epoch()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    batch, size = 8, (config.height, config.width)
    image = torch.randn(batch, 3, *size, device=DEVICE)
    targets = {
        "semseg": torch.randint(0, 13, (batch, *size), device=DEVICE),
        "depth": 1 + torch.rand(batch, 1, *size, device=DEVICE),
        "normals": torch.nn.functional.normalize(torch.randn(batch, 3, *size, device=DEVICE)),
        "edge": torch.randint(0, 2, (batch, 1, *size), device=DEVICE).float(),
    }

    def losses() -> tuple[dict, torch.Tensor | None, torch.Tensor]:
        representation = network.encode(image)
        outputs = network.decode(representation, size)
        final, auxiliary = batch_losses(outputs, targets, config.task_list, config.losses)
        return *weighed_losses(final, auxiliary, config.losses), representation

    def step() -> None:
        final, auxiliary, representation = losses()
        scheme.backward(final, auxiliary, representation, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        with torch.no_grad():
            scheme.close_step(lambda: losses()[0])

    return step


def ratio(config: RunConfig, plain: RunConfig, rounds: int = ROUNDS) -> float:
    """Median over rounds of time(config) / time(plain); the two alternate, so that a busy machine slows both."""
    return alternating(stepper(config), stepper(plain), rounds)


def alternating(one: Callable[[], None], other: Callable[[], None], rounds: int = ROUNDS) -> float:
    """Median over rounds of time(one) / time(other), the first round left out."""
    ratios = []
    for turn in range(rounds + 1):
        times = [_timed(step) for step in (one, other)]
        if turn:
            ratios.append(times[0] / times[1])
    return statistics.median(ratios)


def overhead(name: str, rounds: int = 300) -> float:
    """Seconds that a scheme of cost `losses` adds to a step, on average.

    Its backward pass on bare scalars and what it learns, less a plain backward pass: the network's part is the same in
    both, and being thousands of times as long would hide the difference in its noise.
    """
    scheme = build_scheme(configuration(name), bare_context(), ROOT).to(DEVICE)
    leaves = {task: torch.tensor(0.5, requires_grad=True, device=DEVICE) for task in scheme.tasks}

    def weighed(losses: dict[str, torch.Tensor]) -> None:
        scheme.backward(losses, None, None, 1.0)
        scheme.close_step(dict)

    def plain(losses: dict[str, torch.Tensor]) -> None:
        sum(losses.values()).backward()

    def seconds(step: Callable[[dict[str, torch.Tensor]], None]) -> float:
        losses = {task: leaf * 1.0 for task, leaf in leaves.items()}
        return _timed(lambda: step(losses))

    for step in (weighed, plain) * 20:
        seconds(step)
    scheme.close_epoch()
    return statistics.mean(seconds(weighed) - seconds(plain) for _ in range(rounds))


def bare_context() -> SchemeContext:
    tasks = tuple(task.name for task in configuration("equal").task_list)
    return SchemeContext(tasks, 0, 2, 1, (48, 64), torch.nn.Identity())


def peak_memory(name: str) -> float:
    """Bytes that steps of a scheme add to a process that has built everything: a fresh one on the CPU."""
    if DEVICE == "cuda":
        step = stepper(configuration(name))
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(_growth, name).result()


def _growth(name: str) -> float:
    step = stepper(configuration(name))
    forget_peak_memory("cpu")
    before = peak_memory_mb("cpu")
    step()
    step()
    return 2**20 * (peak_memory_mb("cpu") - before)


@pytest.fixture(scope="module")
def plain_seconds() -> float:
    step = stepper(configuration("equal"))
    step()
    return min(_timed(step) for _ in range(ROUNDS))


def _timed(step: Callable[[], None]) -> float:
    """Seconds that `step` takes: of processor time on a CPU, where other work on the machine shall not count."""
    clock = time.perf_counter if DEVICE == "cuda" else time.process_time
    started = clock()
    step()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return clock() - started


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCHEMES if cost(name) == "losses"])
def test_overhead_of_loss_values_alone(name: str, plain_seconds: float) -> None:
    added = overhead(name)
    print(f"\n{name:16s} {1e6 * added:4.0f} µs, {100 * added / plain_seconds:.3f} % of a step of {plain_seconds:.3f} s")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCHEMES if cost(name) != "losses"])
def test_time(name: str) -> None:
    print(f"\n{name:16s} {cost(name):10s} {ratio(configuration(name), configuration('equal')):.2f} x time")


@pytest.mark.slow
def test_memory() -> None:
    plain = peak_memory("equal")
    print(f"\nequal: {plain / 2**20:.0f} MB")
    for name in SCHEMES:
        if cost(name) != "losses":
            print(f"{name:16s} {peak_memory(name) / plain:.2f} x memory")


@pytest.mark.slow
def test_diagnostics() -> None:
    """A step of equal weights that looks at the tasks' gradients, over one that does not."""
    plain = configuration("equal", tasks=3)
    print(f"\na step with diagnostics: {alternating(stepper(plain, 1), stepper(plain)):.2f} x time")


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [3, 8])
def test_solvers(tasks: int) -> None:
    """Microseconds of the k x k problems, for gradients whose lengths differ up to thirtyfold."""
    draws = np.random.default_rng(0)
    jacobians = [np.geomspace(1, 30, tasks)[:, None] * draws.normal(size=(tasks, 3 * tasks)) for _ in range(200)]
    gramians = [jacobian @ jacobian.T for jacobian in jacobians]
    problems: dict[str, Callable[[np.ndarray], object]] = {
        "shortest_in_hull": solvers.shortest_in_hull,
        "dual_cone_projections": lambda gramian: solvers.dual_cone_projections(gramian, np.eye(tasks)),
        "conflict_averse": lambda gramian: solvers.conflict_averse(gramian, 0.4),
        "fair_shares": lambda gramian: solvers.fair_shares(gramian, 2.0),
        "priority_constrained": lambda gramian: solvers.priority_constrained(gramian, 0.02 * gramian.diagonal()[1:]),
        "onto_simplex": lambda gramian: solvers.onto_simplex(gramian[0]),
    }
    for name, solve in problems.items():
        # The best of five: what other work on the machine adds is not the solver's.
        times = [min(_timed(lambda s=solve, g=gramian: s(g)) for _ in range(5)) for gramian in gramians]
        print(
            f"\nk = {tasks}: {name:22s} {1e6 * statistics.mean(times):4.0f} µs, at most {1e6 * max(times):4.0f}", end=""
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCHEMES if cost(name) == "gradients"])
def test_gradient_schemes_at_three_tasks(name: str) -> None:
    found = ratio(configuration(name, tasks=3), configuration("equal", tasks=3))
    print(f"\n{name:16s} {found:.2f} x time")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mgda", "pcgrad", "upgrad"])
@pytest.mark.parametrize("shared", ["encoder", "all_shared", "representation"])
@pytest.mark.parametrize("architecture", ["mtcp", "mtl_baseline"])
def test_cost_at_three_tasks(name: str, shared: str, architecture: str) -> None:
    plain = configuration("equal", architecture, tasks=3)
    if architecture == "mtl_baseline" and shared == "all_shared":
        pytest.skip("all that is shared is the encoder")
    found = ratio(configuration(name, architecture, tasks=3, shared_parameters=shared), plain)
    print(f"\n{name} {shared} {architecture}: {found:.2f} x time")
