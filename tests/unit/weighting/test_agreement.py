"""Every scheme beside its formula written a second time, from papers and peers' code, in float64: a table.

`pytest tests/unit/weighting/test_agreement.py -s` prints it: the largest deviation of weights and of updates, relative
to their size, over six steps of made-up losses and gradients whose lengths differ up to thirtyfold. Peers: LibMTL,
torchjd, and the authors' code of FAMO, GO4Align, AMTL, PIVRG, Auto-Lambda and IGBv2.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares, minimize
from torch import nn
from torchjd import aggregation

from mtcp.core import plugins
from mtcp.weighting.base import LossScheme, Scheme, SchemeContext

Array = NDArray[np.float64]
#: Peers' formulas, and exact solutions of small problems.
FORMULA, EXACT = 1e-6, 1e-8
TASKS, SIZE, STEPS = 4, 9, 6
FOUND: dict[str, tuple[str, float, float]] = {}


class Peer:
    """The formula of one scheme: `step` gives weights, from losses L (k,) and gradients J (k, P)."""

    def __init__(self, scheme: Scheme) -> None:
        self.scheme, self.options = scheme, scheme.options
        self.means: list[Array] = []
        self.epoch: list[Array] = []

    def step(self, L: Array, J: Array) -> Array:
        raise NotImplementedError

    def update(self, weights: Array, J: Array) -> Array:
        return weights @ J

    def after(self, before: Array, after: Array) -> None:
        """The step is done; the same batch now has the losses `after`."""

    def end_epoch(self) -> None:
        if self.epoch:
            self.means.append(np.mean(self.epoch, 0))
            self.epoch = []

    def draws(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.scheme.step_seed())


def peer(function: Callable[[Peer, Array, Array], Array]) -> type[Peer]:
    """Return the peer of a scheme without state."""

    def step(self: Peer, L: Array, J: Array) -> Array:
        return function(self, L, J)

    return type("Stateless", (Peer,), {"step": step})


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max())
    return e / e.sum()


def derivative(function: Callable[[torch.Tensor], torch.Tensor], L: Array) -> Array:
    values = torch.tensor(L, requires_grad=True)
    function(values).backward()
    assert values.grad is not None
    return values.grad.numpy()


class DWA(Peer):
    def step(self, L, J):
        self.epoch.append(L)
        if len(self.means) < 2:
            return np.ones(len(L))
        return len(L) * softmax(self.means[-1] / self.means[-2] / 2.0)


class DTP(Peer):
    kappa: Array | None = None

    def step(self, L, J):
        now = np.exp(-L)
        self.kappa = now if self.kappa is None else 0.1 * now + 0.9 * self.kappa
        return -(1 - self.kappa) * np.log(self.kappa)


class Learned(Peer):
    """sum exp(s) L - b s by torch's Adam."""

    balance = 1.0

    def __init__(self, scheme):
        super().__init__(scheme)
        self.s = torch.zeros(TASKS, dtype=torch.float64, requires_grad=True)
        self.adam = torch.optim.Adam([self.s], 0.025)

    def step(self, L, J):
        self.L = torch.tensor(L)
        return self.s.detach().exp().numpy().copy()

    def after(self, before, after):
        self.adam.zero_grad()
        (self.s.exp() * self.L - self.balance * self.s).sum().backward()
        self.adam.step()


class Uncertainty(Learned):
    balance = 0.5


class FAMO(Peer):
    def __init__(self, scheme):
        super().__init__(scheme)
        self.w = torch.zeros(TASKS, dtype=torch.float64, requires_grad=True)
        self.adam = torch.optim.Adam([self.w], 0.025, weight_decay=0.001)

    def step(self, L, J):
        z = torch.softmax(self.w.detach(), 0).numpy()
        return len(L) * z / L / (z / L).sum()

    def after(self, before, after):
        delta = torch.tensor(np.log(before) - np.log(after))
        self.w.grad = torch.autograd.grad(torch.softmax(self.w, 0), self.w, grad_outputs=delta)[0]
        self.adam.step()


class LPS(Peer):
    floor = -np.inf

    def step(self, L, J):
        self.epoch.append(np.log(1 + L))
        if not self.means:
            weights = np.ones(len(L))
        elif len(self.means) == 1:
            weights = self.means[0].sum() / self.means[0]
        else:
            now, before = self.means[-1], self.means[-2]
            ratio = (now / before) / (now.sum() / before.sum())
            weights = ratio.mean() + self.options.kappa * (ratio - ratio.mean())
        return np.maximum(weights, self.floor) / (1 + L)


class ClippedLPS(LPS):
    floor = 0.0


class STCH(Peer):
    def step(self, L, J):
        self.epoch.append(L)
        if not self.means:
            return 1 / L
        return len(L) * derivative(lambda x: torch.logsumexp((x / torch.tensor(self.means[0])).log(), 0), L)


class GO4Align(Peer):
    p = np.full(TASKS, 1 / TASKS)

    def step(self, L, J):
        self.p = self.p * np.exp(-1e-4 * L)
        self.p = self.p / self.p.sum()
        v = L.sum() / L * self.p
        best = None
        for labels in map(np.array, itertools.product(range(2), repeat=len(L))):
            centres = np.array([v[labels == label].mean() for label in labels])
            spread = ((v - centres) ** 2).sum()
            if len(set(labels.tolist())) == 2 and (best is None or spread < best[0]):
                best = spread, centres
        assert best is not None
        return best[1]


class AMTL(Peer):
    achieved: Array | None = None

    def step(self, L, J):
        self.epoch.append(L)
        missing = np.zeros(len(L)) if self.achieved is None else (1 - self.achieved / 1.05) ** 2
        weights = torch.tensor(softmax(missing))
        return len(L) * derivative(lambda x: (x**weights).prod(), L)

    def end_epoch(self):
        super().end_epoch()
        now = np.exp(-self.means[-1])
        self.achieved = now if self.achieved is None else 0.1 * now + 0.9 * self.achieved


class IGBv2(Peer):
    """Before the agent has its say: random weights of the logarithms."""

    def step(self, L, J):
        return len(L) * softmax(torch.randn(len(L), generator=self.draws()).double().numpy()) / L


def coefficients(update: Array, J: Array) -> Array:
    return np.linalg.lstsq(J.T, update, rcond=None)[0]


def aligned(p: Peer, L: Array, J: Array) -> Array:
    U, s, V = np.linalg.svd(J, full_matrices=False)
    return coefficients(s[-1] * (U @ V).sum(0), J)


def cagrad(p: Peer, L: Array, J: Array) -> Array:
    A, k, c = J @ J.T, len(J), p.options.c
    A = A / np.trace(A)
    b, radius = np.full(k, 1 / k), c * np.sqrt(A.mean())
    best = None
    for support in subsets(k):
        bounds = [(0, 1) if i in support else (0, 0) for i in range(k)]
        start = np.where([i in support for i in range(k)], 1 / len(support), 0.0)
        found = minimize(
            lambda x: x @ A @ b + radius * np.sqrt(x @ A @ x), start, bounds=bounds, method="SLSQP",
            jac=lambda x: A @ b + radius * A @ x / np.sqrt(x @ A @ x), options={"ftol": 1e-18, "maxiter": 500},
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1, "jac": lambda x: np.ones(k)},
        )  # fmt: skip
        if best is None or found.fun < best.fun:
            best = found
    assert best is not None
    w = best.x
    return k * (b + radius * w / np.sqrt(w @ A @ w)) / (1 + c**2)


def config(p: Peer, L: Array, J: Array) -> Array:
    units = J / np.linalg.norm(J, axis=1, keepdims=True)
    direction = np.linalg.pinv(units) @ np.ones(len(J))
    direction = direction / np.linalg.norm(direction)
    return coefficients((J @ direction).sum() * direction, J)


class DBMTL(Peer):
    kept: Array | None = None

    def step(self, L, J):
        grads = J / L[:, None]
        self.kept = (np.zeros_like(J) if self.kept is None else self.kept) * 0.9 + 0.1 * grads
        norms = np.linalg.norm(self.kept, axis=1)
        return norms.max() / norms / L

    def update(self, weights, J):
        assert self.kept is not None
        norms = np.linalg.norm(self.kept, axis=1)
        return (norms.max() / norms) @ self.kept


def subsets(k: int) -> list[list[int]]:
    return [list(chosen) for size in range(1, k + 1) for chosen in itertools.combinations(range(k), size)]


def shortest(p: Peer, L: Array, J: Array) -> Array:
    """The hull's shortest vector by going through all faces."""
    best, least = np.zeros(len(J)), np.inf
    for face in subsets(len(J)):
        G = J[face] @ J[face].T
        w = np.linalg.solve(G, np.ones(len(face)))
        w = w / w.sum()
        if (w >= 0).all() and w @ G @ w < least:
            least, best = w @ G @ w, np.zeros(len(J))
            best[face] = w
    return len(J) * best


def projected(target: Array, J: Array) -> Array:
    """The multipliers of the projection onto the dual cone, by going through all active sets."""
    best, least = np.zeros(len(J)), np.inf if (J @ target).min() < 0 else 0.0
    for active in subsets(len(J)) if least else []:
        m = np.linalg.solve(J[active] @ J[active].T, -J[active] @ target)
        moved = m @ J[active]
        if (m >= 0).all() and (J @ (target + moved)).min() > -1e-12 and moved @ moved < least:
            least, best = moved @ moved, np.zeros(len(J))
            best[active] = m
    return best


def upgrad(p: Peer, L: Array, J: Array) -> Array:
    return 1 + sum(projected(row, J) for row in J)


def dualproj(p: Peer, L: Array, J: Array) -> Array:
    return 1 + projected(J.sum(0), J)


class ExcessMTL(Peer):
    squares = first = 0.0
    w = np.full(TASKS, 1 / TASKS)

    def step(self, L, J):
        self.squares = self.squares + J**2
        risk = (J**2 / np.sqrt(self.squares + 1e-7)).sum(1)
        if np.isscalar(self.first):
            self.first = risk
        self.w = softmax(np.log(self.w) + 0.01 * risk / self.first)
        return len(L) * self.w


def fair(J: Array, claims: Array, power: float = 0.5) -> Array:
    G = J @ J.T
    unit = np.sqrt(np.diag(G))
    C = G / np.outer(unit, unit)
    pull = claims**power * unit ** (power - 1)

    def residual(log: Array) -> Array:
        return C @ np.exp(log) * np.exp(power * log) / pull - 1

    # In logarithms for unit gradients: scipy's routine alone stops short where lengths differ.
    found = least_squares(residual, np.zeros(len(J)), xtol=1e-15, ftol=1e-15, gtol=1e-15)
    return np.exp(found.x) / unit


class PIVRG(Peer):
    scores: Array = np.zeros(TASKS)

    def step(self, L, J):
        self.epoch.append(L)
        temperature = max((self.scores.max() - self.scores.min()) / np.log(2.0), 10)
        return fair(J, len(L) * softmax(self.scores / temperature))

    def end_epoch(self):
        super().end_epoch()
        self.scores = 100 * (self.means[-1] / self.means[0] - 1)


def nash(p: Peer, L: Array, J: Array) -> Array:
    a = fair(J, np.ones(len(L)), power=1.0)
    return a / max(1.0, np.linalg.norm(a @ J))


class GradDrop(Peer):
    def step(self, L, J):
        purity = 0.5 * (1 + J.sum(0) / np.abs(J).sum(0))
        drawn = torch.rand(J.shape[1], generator=self.draws(), dtype=torch.float64).numpy()
        kept = np.where(drawn < purity, J > 0, J < 0)
        self.summed = (J * kept).sum(0)
        return coefficients(self.summed, J)

    def update(self, weights, J):
        return self.summed


class GradNorm(Peer):
    w = np.ones(TASKS)
    first: Array | None = None

    def step(self, L, J):
        self.first = L if self.first is None else self.first
        norms, progress = np.linalg.norm(J, axis=1), L / self.first
        target = torch.tensor((self.w * norms).mean() * (progress / progress.mean()) ** 1.5)
        gradient = derivative(lambda w: (w * torch.tensor(norms) - target).abs().sum(), self.w)
        moved = np.maximum(self.w - 0.025 * gradient / norms.mean(), 1e-3)
        used, self.w = self.w, moved * self.w.sum() / moved.sum()
        return used


class GradVac(Peer):
    usual = np.zeros((TASKS, TASKS))

    def step(self, L, J):
        draws, usual, total = self.draws(), self.usual.copy(), np.zeros(J.shape[1])
        for i, own in enumerate(J):
            g = own.copy()
            for j in torch.randperm(len(J), generator=draws).tolist():
                if j == i:
                    continue
                size, other = np.linalg.norm(g), np.linalg.norm(J[j])
                phi, wanted = g @ J[j] / size / other, usual[i, j]
                if phi < wanted:
                    sines = np.sqrt(1 - phi**2), np.sqrt(1 - wanted**2)
                    g = g + size * (wanted * sines[0] - phi * sines[1]) / (other * sines[1]) * J[j]
                usual[i, j] = 0.5 * wanted + 0.5 * phi
            total += g
        self.usual = usual
        return coefficients(total, J)


def pcgrad(p: Peer, L: Array, J: Array) -> Array:
    draws, total = p.draws(), np.zeros(J.shape[1])
    for i, own in enumerate(J):
        g = own.copy()
        for j in torch.randperm(len(J), generator=draws).tolist():
            if j != i and g @ J[j] < 0:
                g = g - (g @ J[j]) / (J[j] @ J[j]) * J[j]
        total += g
    return coefficients(total, J)


def imtl_g(p: Peer, L: Array, J: Array) -> Array:
    """LibMTL's and the paper's closed form, equation 7."""
    units = J / np.linalg.norm(J, axis=1, keepdims=True)
    D, U = J[0] - J[1:], units[0] - units[1:]
    rest = J[0] @ U.T @ np.linalg.inv(D @ U.T)
    return len(J) * np.array([1 - rest.sum(), *rest])


class IMTL(Learned):
    def step(self, L, J):
        scales = super().step(L, J)
        return scales * imtl_g(self, L, scales[:, None] * J)


class MoCo(Peer):
    def __init__(self, scheme):
        super().__init__(scheme)
        self.y, self.w, self.s = np.zeros((TASKS, SIZE)), np.full(TASKS, 1 / TASKS), 0

    def step(self, L, J):
        self.s += 1
        self.scale = L / np.linalg.norm(J, axis=1)
        self.y = self.y - 0.5 / self.s**0.5 * (self.y - self.scale[:, None] * J)
        moved = self.w - 0.1 / self.s**0.5 * self.y @ (self.y.T @ self.w)
        self.w = softmax(moved) if self.options.projection == "softmax" else simplex(moved)
        return len(L) * self.w * self.scale

    def update(self, weights, J):
        return len(self.w) * self.w @ self.y


def simplex(v: Array) -> Array:
    """The projection onto the simplex by bisection for the level that is taken off."""
    low, high = v.min() - 1, v.max()
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if np.maximum(v - level, 0).sum() > 1 else (low, level)
    return np.maximum(v - low, 0)


class Sampled(Peer):
    """torchjd's weights from the products of two batches' gradients."""

    before: Array | None = None

    def weighting(self) -> Any:
        raise NotImplementedError

    def __init__(self, scheme):
        super().__init__(scheme)
        self.library = self.weighting()

    def step(self, L, J):
        before, self.before = J if self.before is None else self.before, J
        return len(L) * self.library(torch.tensor(J @ before.T)).numpy()


class MoDo(Sampled):
    def weighting(self):
        return aggregation.MoDoWeighting(gamma=0.1, rho=0.1)


class SDMGrad(Sampled):
    def weighting(self):
        return aggregation.SDMGradWeighting(lr=5.0, momentum=0.5, n_iter=20, lambda_=0.3)


class PCD(Sampled):
    def weighting(self):
        return aggregation.PCD()

    def step(self, L, J):
        return coefficients(self.library(torch.tensor(J)).numpy(), J)


FIXED = np.array([1.0, 2.0, 0.5, 3.0])
PEERS: dict[str, tuple[type[Peer], float]] = {
    "aligned_mtl": (peer(aligned), EXACT),
    "amtl": (AMTL, FORMULA),
    "cagrad": (peer(cagrad), FORMULA),
    "config": (peer(config), EXACT),
    "db_mtl": (DBMTL, FORMULA),
    "dtp": (DTP, FORMULA),
    "dualproj": (peer(dualproj), EXACT),
    "dwa": (DWA, FORMULA),
    "equal": (peer(lambda p, L, J: np.ones(len(L))), FORMULA),
    "excess_mtl": (ExcessMTL, FORMULA),
    "fairgrad": (peer(lambda p, L, J: fair(J, np.ones(len(L)))), EXACT),
    "famo": (FAMO, FORMULA),
    "fixed": (peer(lambda p, L, J: FIXED), FORMULA),
    "gls": (peer(lambda p, L, J: len(L) * derivative(lambda x: x.prod() ** (1 / len(L)), L)), FORMULA),
    "go4align": (GO4Align, FORMULA),
    "graddrop": (GradDrop, FORMULA),
    "gradnorm": (GradNorm, FORMULA),
    "gradvac": (GradVac, FORMULA),
    "igb_v2": (IGBv2, FORMULA),
    "imtl": (IMTL, FORMULA),
    "imtl_g": (peer(imtl_g), EXACT),
    "imtl_l": (Learned, FORMULA),
    "lps": (LPS, FORMULA),
    "lps_as_released": (peer(lambda p, L, J: np.ones(len(L))), FORMULA),
    "lps_clipped": (ClippedLPS, FORMULA),
    "mgda": (peer(shortest), EXACT),
    "moco": (MoCo, FORMULA),
    "modo": (MoDo, FORMULA),
    "nash_mtl": (peer(nash), EXACT),
    "pcd": (PCD, FORMULA),
    "pcgrad": (peer(pcgrad), FORMULA),
    "pivrg": (PIVRG, EXACT),
    "rlw": (
        peer(lambda p, L, J: len(L) * softmax(torch.randn(len(L), generator=p.draws()).double().numpy())),
        FORMULA,
    ),
    "scale_invariant": (peer(lambda p, L, J: 1 / L), FORMULA),
    "sdmgrad": (SDMGrad, FORMULA),
    "stch": (STCH, FORMULA),
    "uncertainty": (Uncertainty, FORMULA),
    "upgrad": (peer(upgrad), EXACT),
    "uw_so": (peer(lambda p, L, J: len(L) * softmax(1 / L / 5.0)), FORMULA),
}
GIVEN: dict[str, dict[str, Any]] = {
    "fixed": {"weights": dict(zip("abcd", FIXED.tolist(), strict=True))},
    "lps": {"kappa": 7.5},
    "lps_clipped": {"kappa": 7.5},
    "stch": {"warmup_epochs": 1},
}


class Direct(nn.Module):
    """Tasks read one vector of SIZE entries."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(1, SIZE, bias=False)

    def forward(self, image: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
        return {task: {"final": self.encoder.weight.sum()} for task in "abcd"}


def build(name: str, **given: Any) -> Scheme:
    context = SchemeContext(tuple("abcd"), 7, 4, 2, (8, 8), Direct())
    options = plugins.parameters("scheme", name, {**GIVEN.get(name, {}), **given})
    return plugins.load("scheme", name)(context, options).double()


def problems() -> Iterator[tuple[Array, Array, Array]]:
    draws = np.random.default_rng(5)
    lengths = np.array([[1.0], [5.0], [0.2], [1.0]])
    for _ in range(STEPS):
        J = lengths * draws.normal(size=(TASKS, SIZE)) * draws.uniform(0.8, 1.2, (TASKS, 1)) + 0.1
        L = draws.uniform(0.2, 2.0, TASKS)
        yield L, J, L * draws.uniform(0.8, 1.1, TASKS)


def ours(scheme: Scheme, L: Array, J: Array) -> tuple[Array, Array | None]:
    """Weights and update of one step of the scheme itself."""
    if isinstance(scheme, LossScheme):
        leaves = {task: torch.tensor(value, requires_grad=True) for task, value in zip("abcd", L, strict=True)}
        scheme.backward(leaves, None, None, 1.0)
        return np.array([leaf.grad.item() for leaf in leaves.values()]), None
    jacobian, losses = torch.tensor(J), torch.tensor(L)
    update, weights = scheme.combined(jacobian, jacobian @ jacobian.T, losses, torch.arange(TASKS))
    scheme.seen[:] = True
    scheme.steps += 1
    return weights.numpy(), update.numpy()


def compare(name: str, **given: Any) -> tuple[float, float]:
    """Return the largest deviation of weights and of updates from the peer's, relative to their size."""
    scheme = build(name, **given)
    other, off = PEERS[name][0](scheme), np.zeros(2)
    for number, (L, J, after) in enumerate(problems()):
        wanted = other.step(L, J)
        weights, update = ours(scheme, L, J)
        off[0] = max(off[0], np.abs(weights - wanted).max() / np.abs(wanted).max())
        if update is not None:
            expected = other.update(wanted, J)
            off[1] = max(off[1], np.linalg.norm(update - expected) / np.linalg.norm(expected))
        with torch.no_grad():
            scheme.close_step(lambda after=after: dict(zip("abcd", map(torch.tensor, after), strict=True)))
        other.after(L, after)
        if number % 2:
            scheme.close_epoch()
            other.end_epoch()
    return float(off[0]), float(off[1])


@pytest.mark.parametrize("name", PEERS)
def test_weights_and_updates_are_those_of_the_formula(name):
    weights, update = compare(name)
    FOUND[name] = ("exact solution" if PEERS[name][1] == EXACT else "formula", weights, update)
    assert max(weights, update) <= PEERS[name][1]


def test_moco_with_a_softmax_is_libmtls():
    assert max(compare("moco", projection="softmax")) <= FORMULA


def test_every_scheme_is_compared():
    """But for Auto-Lambda, whose weights need a network: tests/unit/weighting/test_auto_lambda.py."""
    assert set(plugins.find("scheme")) - set(PEERS) == {"auto_lambda"}


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Print what was found, below the tests."""
    yield
    print(f"\n{'scheme':16s} {'beside':15s} {'weights':>8s} {'update':>8s}")
    for name, (kind, weights, update) in sorted(FOUND.items()):
        print(f"{name:16s} {kind:15s} {weights:8.0e} {update:8.0e}")
