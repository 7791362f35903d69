"""Improvable gap balancing by reinforcement learning."""

import copy
import math
from itertools import pairwise
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mtcp.api import EpochMeans, LossScheme, PluginParameters, SchemeContext, scheme

_WIDTH, _BATCH, _DISCOUNT, _TEMPERATURE, _FOLLOW = 128, 256, 0.99, 0.2, 0.005


def _layers(*sizes: int) -> nn.Sequential:
    return nn.Sequential(*(part for one, other in pairwise(sizes) for part in (nn.Linear(one, other), nn.ReLU())))


class _Actor(nn.Module):
    """Losses (N, T) -> weights T softmax(u) (N, T) with u normal, and their log density (N, 1)."""

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.body = _layers(tasks, _WIDTH, _WIDTH)
        self.mean, self.log_deviation = nn.Linear(_WIDTH, tasks), nn.Linear(_WIDTH, tasks)

    def forward(self, losses: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        features = self.body(losses)
        mean, deviation = self.mean(features), self.log_deviation(features).clamp(-20, 2).exp()
        noise = torch.randn(mean.shape, generator=draws).to(mean)
        u = mean + deviation * noise
        density = -0.5 * noise.square() - deviation.log() - 0.5 * math.log(2 * math.pi)
        # The density correction of a tanh, as in the authors' code, although the weights come from a softmax.
        density = density - 2 * (math.log(2) - u - functional.softplus(-2 * u))
        return u.shape[-1] * torch.softmax(u, -1), density.sum(-1, keepdim=True)


class _Critics(nn.Module):
    """Losses and weights (N, T) -> two estimates (2, N, 1) of the return, by two networks computed as one."""

    def __init__(self, tasks: int) -> None:
        super().__init__()
        sizes = (2 * tasks, _WIDTH, _WIDTH, 1)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            bound = inputs**-0.5  # the initialisation of nn.Linear
            self.weights.append(nn.Parameter(torch.empty(2, inputs, outputs).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(2, 1, outputs).uniform_(-bound, bound)))

    def forward(self, losses: Tensor, weights: Tensor) -> Tensor:
        values = torch.cat([losses, weights], -1).expand(2, -1, -1)
        for depth, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = torch.baddbmm(bias, values if depth == 0 else functional.relu(values), weight)
        return values


@scheme("igb_v2")
class IGBv2(LossScheme):
    """Improvable gap balancing, by reinforcement learning (Dai, Fei and Lu, UAI 2023, IGBv2).

    total = sum_t w_t log l_t. w is the action of a soft actor-critic agent (Haarnoja et al., ICML 2018) whose state is
    the current batch's losses. Its reward is the least relative decrease, min_t (l_t - l'_t) / b_t, with l' the next
    batch's losses and b_t the mean loss of epoch `base_epoch`. In the first `random_epochs` epochs, w = k softmax(z),
    z ~ N(0, I), as in RLW. From epoch `learning_from` on, every `every`-th step trains the agent on up to `memory` such
    transitions, for `every` / 2 to `every` updates in batches of 128 to 256, more the fuller the memory is. With
    gradient accumulation a state is the losses of a step's first micro-batch.

    Caveat: the reward is as noisy as the losses of single batches, and the agent needs tens of thousands of steps to
    learn anything. The authors divide rewards by the decay of the learning rate, which a scheme does not see. Needs
    positive losses.
    """

    class Parameters(PluginParameters):
        agent_rate: float = Field(3e-4, gt=0, description="learning rate of the agent's networks, by Adam")
        memory: int = Field(10_000, ge=1, description="transitions that are kept")
        base_epoch: int = Field(1, ge=0, description="the epoch, from 0, whose mean losses are the unit of rewards")
        learning_from: int = Field(3, ge=0, description="epochs before the agent learns")
        random_epochs: int = Field(5, ge=0, description="epochs of random weights")
        every: int = Field(50, ge=1, description="steps from one learning of the agent to the next")

    base: Tensor
    losses: Tensor
    action: Tensor
    transitions: Tensor
    seen_transitions: Tensor

    def __init__(self, context: SchemeContext, parameters: "IGBv2.Parameters") -> None:
        super().__init__(context, parameters)
        tasks = len(context.tasks)
        self.idle_epochs = max(parameters.random_epochs, parameters.learning_from, parameters.base_epoch + 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            self.actor, self.critics = _Actor(tasks), _Critics(tasks)
        self.followers = copy.deepcopy(self.critics).requires_grad_(False)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(_TEMPERATURE)))
        groups = {"actor": self.actor, "critics": self.critics}
        self.optimisers = {
            name: torch.optim.Adam(part.parameters(), parameters.agent_rate, fused=True)
            for name, part in groups.items()
        }
        self.optimisers["temperature"] = torch.optim.Adam([self.log_temperature], parameters.agent_rate, fused=True)
        self.means = EpochMeans(tasks)
        self.register_buffer("base", torch.full((tasks,), torch.nan))
        self.register_buffer("losses", torch.full((tasks,), torch.nan))
        self.register_buffer("action", torch.ones(tasks))
        self.register_buffer("transitions", torch.zeros(parameters.memory, 3 * tasks + 1))
        self.register_buffer("seen_transitions", torch.zeros((), dtype=torch.long))
        self.acted = -1  # the optimiser step of the last action; no state, as a run is resumed between two steps

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        self.positive(losses, present)
        self.means.add(losses, present)
        if self.acted != self.optimiser_steps:  # between micro-batches the network stays as it is
            self._act(self.losses.index_put((present,), losses.detach().to(self.losses)), present)
        weights = self.action[present]
        return (len(losses) * (weights / weights.sum()).to(losses) * losses.log()).sum()

    def end_epoch(self) -> None:
        """Record the unit of rewards, the mean losses of `base_epoch` (for a task absent there, of a later epoch)."""
        means = self.means.close().to(self.base)
        if self.epochs >= self.options.base_epoch:
            self.base = torch.where(self.base.isnan(), means, self.base)

    def _act(self, now: Tensor, present: Tensor) -> None:
        """Remember what the last action led to, learn if it is time to, and choose the next one."""
        draws = torch.Generator().manual_seed(self.update_seed())
        self._remember(now, present)
        self.losses = now
        if self.epochs >= self.options.learning_from and self.optimiser_steps % self.options.every == 0:
            self._learn(draws)
        self.action = self._weights(now, draws)
        self.acted = self.optimiser_steps

    def _weights(self, losses: Tensor, draws: torch.Generator) -> Tensor:
        if self.epochs < self.options.random_epochs or losses.isnan().any():
            return (len(losses) * torch.softmax(torch.randn(len(losses), generator=draws), 0)).to(losses)
        with torch.no_grad():
            return self.actor(losses[None], draws)[0][0]

    def _remember(self, now: Tensor, present: Tensor) -> None:
        reward = ((self.losses - now) / self.base)[present].min()
        if torch.isfinite(reward) and not now.isnan().any():
            place = int(self.seen_transitions) % self.options.memory
            self.transitions[place] = torch.cat([self.losses, self.action, now, reward[None]])
            self.seen_transitions += 1

    @torch.enable_grad()
    def _learn(self, draws: torch.Generator) -> None:
        kept = min(int(self.seen_transitions), self.options.memory)
        fullness = (1 + kept / self.options.memory) / 2
        for _ in range(int(self.options.every * fullness) if kept else 0):
            chosen = torch.randint(kept, (int(_BATCH * fullness),), generator=draws)
            sizes = [len(self.tasks)] * 3 + [1]
            batch = self.transitions[chosen.to(self.transitions.device)]
            state, action, after, reward = batch.split(sizes, -1)
            self._improve(state, action, after, reward, draws)

    def _improve(self, state: Tensor, action: Tensor, after: Tensor, reward: Tensor, draws: torch.Generator) -> None:
        """Update the critics, the actor and the temperature once, then the followers (target critics)."""
        temperature = self.log_temperature.detach().exp()
        with torch.no_grad():
            next_action, density = self.actor(after, draws)
            value = self.followers(after, next_action).amin(0) - temperature * density
        off = self.critics(state, action) - (reward + _DISCOUNT * value)
        self._descend("critics", off.square().mean((1, 2)).sum())
        chosen, density = self.actor(state, draws)
        self._descend("actor", (temperature * density - self.critics(state, chosen).amin(0)).mean())
        self._descend("temperature", -(self.log_temperature * (density.detach() - len(self.tasks))).mean())
        with torch.no_grad():
            for follower, leader in zip(self.followers.parameters(), self.critics.parameters(), strict=True):
                follower.lerp_(leader, _FOLLOW)

    def _descend(self, name: str, loss: Tensor) -> None:
        own = [parameter for group in self.optimisers[name].param_groups for parameter in group["params"]]
        for parameter, gradient in zip(own, torch.autograd.grad(loss, own), strict=True):
            parameter.grad = gradient
        self.optimisers[name].step()
        self.optimisers[name].zero_grad()

    def get_extra_state(self) -> dict[str, Any]:
        agent = {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}
        return {**super().get_extra_state(), "agent": agent}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["agent"][name])
