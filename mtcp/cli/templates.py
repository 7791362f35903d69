"""Templates of `mtcp schemes new` and `mtcp architectures new`: working, commented plug-ins and their tests."""

SCHEME = '''\
"""{title}: a weighting scheme of my own."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import LossScheme, PluginParameters, SchemeContext, scheme


@scheme("{name}")
class {title}(LossScheme):
    """{title} (say where it comes from: authors, year, equation).

    total = sum_t w_t l_t with w_t proportional to a running mean of l_t to the given power, scaled to sum to k, the
    number of tasks in the step. Write the formula that you implement here: `mtcp schemes show {name}` prints this text.

    Caveat: say what someone who uses it must know.
    """

    # What readers and the checks may expect: see mtcp/weighting/base.py for every attribute and hook.
    # moved_by = "always"    the weights should move; a run in which they never do gets the flag `stayed_equal`
    # idle_epochs = 0        first epochs in which the scheme's own rule does not act yet
    # signed = False         whether negative weights are by design; otherwise they are reported as trouble

    class Parameters(PluginParameters):
        # Typed, bounded, with a default: `scheme: {{name: {name}, power: 0.5}}` in config/methods.yaml sets it.
        power: float = Field(0.5, ge=0, le=2, description="0: equal weights; larger: more to large losses")

    def __init__(self, context: SchemeContext, parameters: "{title}.Parameters") -> None:
        super().__init__(context, parameters)
        # Buffers are saved and restored, so that an interrupted run goes on bit for bit.
        self.register_buffer("mean", torch.full((len(context.tasks),), torch.nan))

    def total(self, losses: Tensor, present: Tensor) -> Tensor:
        # losses (k,): the tasks that have a valid pixel in this batch; present (k,): their places among all tasks.
        before, now = self.mean[present], losses.detach()
        mean = torch.where(before.isnan(), now, 0.9 * before + 0.1 * now)
        self.mean[present] = mean
        weights = mean**self.options.power
        return (len(weights) * weights / weights.sum() * losses).sum()
'''

SCHEME_TEST = '''\
"""Test of the scheme `{name}`: run with `pytest plugins/tests`."""

from pathlib import Path

import torch
from torch import nn

from mtcp.api import SchemeContext, load_plugin, plugin_parameters

ROOT = Path(__file__).parents[2]


def make(**given):
    tasks = ("semseg", "depth")
    context = SchemeContext(tasks, seed=0, epochs=1, steps_per_epoch=1, size=(8, 8), network=nn.Identity())
    options = plugin_parameters("scheme", "{name}", given, ROOT)
    return load_plugin("scheme", "{name}", ROOT)(context, options)


def weights(scheme, semseg, depth):
    losses = {{"semseg": torch.tensor(semseg, requires_grad=True), "depth": torch.tensor(depth, requires_grad=True)}}
    scheme.backward(losses, None, None, 1.0)
    return [loss.grad.item() for loss in losses.values()]


def test_power_0_is_equal():
    assert weights(make(power=0.0), 3.0, 1.0) == [1.0, 1.0]


def test_power_1_follows_the_losses():
    assert weights(make(power=1.0), 3.0, 1.0) == [1.5, 0.5]
'''

METHOD = """\
{name}:
  label: MT-CP network, {name}
  family: scheme
  architecture: {{name: mtcp}}
  scheme: {{name: {name}}}
"""

GRADIENT_SCHEME = '''\
"""{title}: a weighting scheme of my own, by gradients."""

import torch
from pydantic import Field
from torch import Tensor

from mtcp.api import JacobianScheme, scheme


@scheme("{name}")
class {title}(JacobianScheme):
    """{title} (say where it comes from: authors, year, equation).

    update = sum_t g_t ||g_t||^(-power), scaled to the length of the plain sum of the tasks' gradients g_t. Write the
    formula that you implement here: `mtcp schemes show {name}` prints this text.

    Caveat: say what someone who uses it must know.
    """

    # A scheme that needs only the inner products of the gradients is a GramianScheme: it returns one coefficient per
    # task. mtcp/weighting/gradients.py has every attribute and hook.

    class Parameters(JacobianScheme.Parameters):
        # Typed, bounded, with a default: `scheme: {{name: {name}, power: 0.5}}` in config/methods.yaml sets it.
        power: float = Field(1.0, ge=0, le=2, description="0: the plain sum; 1: directions alone")

    def combine(self, jacobian: Tensor, losses: Tensor, present: Tensor) -> Tensor:
        # jacobian (k, P): the gradients of the k tasks that have a valid pixel in this batch, on the shared parameters;
        # losses (k,): their losses; present (k,): their places among all tasks. Returns the update (P,).
        length = jacobian.norm(dim=1, keepdim=True).clamp_min(1e-12)
        update = (jacobian * length**-self.options.power).sum(0)
        plain = jacobian.sum(0)
        return update * (plain.norm() / update.norm().clamp_min(1e-12))
'''

GRADIENT_TEST = '''\
"""Test of the scheme `{name}`: run with `pytest plugins/tests`."""

from pathlib import Path

import torch
from torch import nn

from mtcp.api import SchemeContext, load_plugin, plugin_parameters

ROOT = Path(__file__).parents[2]


class Network(nn.Module):
    """A shared encoder, and nothing else: what a gradient scheme asks of a network."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv2d(3, 2, 1)

    def encode(self, image):
        return self.encoder(image)

    def forward(self, image):
        shared = self.encode(image)
        return {{task: {{"final": shared}} for task in ("semseg", "depth")}}


def update(jacobian, **given):
    context = SchemeContext(("semseg", "depth"), seed=0, epochs=1, steps_per_epoch=1, size=(8, 8), network=Network())
    options = plugin_parameters("scheme", "{name}", given, ROOT)
    made = load_plugin("scheme", "{name}", ROOT)(context, options)
    return made.combine(torch.tensor(jacobian), torch.ones(2), torch.arange(2))


def test_power_0_is_the_sum():
    torch.testing.assert_close(update([[3.0, 0.0], [0.0, 1.0]], power=0.0), torch.tensor([3.0, 1.0]))


def test_power_1_gives_every_task_the_same_say():
    found = update([[3.0, 0.0], [0.0, 1.0]], power=1.0)
    torch.testing.assert_close(found, torch.full((2,), 5**0.5))
'''

ARCHITECTURE = '''\
"""{title}: an architecture of my own."""

from pydantic import Field
from torch import Tensor, nn

from mtcp.api import (
    FPN, HFP, Architecture, BuildContext, Outputs, PluginParameters, architecture, build_encoder, task_head, to_nhwc,
)


@architecture("{name}")
class {title}(Architecture):
    """encoder -> (decoder -> pyramid) shared by groups of tasks -> a head per task.

    `encode` gives what all tasks share, and gradient schemes weigh gradients there; `decode` gives every output of
    every task at the image's size. "final" is what is judged; "aux1", "aux2" and "initial" get losses of their own.
    """

    class Parameters(PluginParameters):
        # Typed, bounded, with a default; `architecture: {{name: {name}, shared: false}}` in a method sets it.
        shared: bool = Field(True, description="one decoder for all tasks, instead of one per task")

    def __init__(self, context: BuildContext, parameters: "{title}.Parameters") -> None:
        super().__init__()
        self.encoder = build_encoder(context)
        self.owner = {{task.name: "all" if parameters.shared else task.name for task in context.tasks}}
        channels = context.channels
        self.decoders, self.heads = nn.ModuleDict(), nn.ModuleDict()
        for owner in dict.fromkeys(self.owner.values()):
            # Parts that are built inside `context.part(NAME)` start from values that follow from NAME and the seed.
            with context.part(f"{{owner}}.decoder"):
                pyramid = FPN([channels, 2 * channels, 4 * channels], channels)
                self.decoders[owner] = nn.ModuleList([HFP(channels), pyramid])
        for task in context.tasks:
            with context.part(f"{{task.name}}.head"):
                self.heads[task.name] = task_head(task, channels, context.upsample)

    def encode(self, image: Tensor) -> Tensor:
        self.check_batch(image)
        return self.encoder(image)  # (B, C, H/4, W/4)

    def decode(self, representation: Tensor, size: tuple[int, int]) -> Outputs:
        shared = to_nhwc(representation).contiguous()  # the parts work on (B, H/4, W/4, C)
        maps = {{owner: pyramid(decoder(shared)) for owner, (decoder, pyramid) in self.decoders.items()}}
        return {{task: {{"final": self.heads[task](maps[owner], size)}} for task, owner in self.owner.items()}}
'''

ARCHITECTURE_TEST = '''\
"""Test of the architecture `{name}`: run with `pytest plugins/tests`."""

import pytest
import torch

from mtcp.api import Project, build_network


@pytest.mark.parametrize("shared", [True, False])
def test_every_task_has_an_output_of_the_images_size(shared):
    config = Project().resolve("rooms", "mtl_baseline", 0)
    chosen = config.architecture.model_copy(update={{"name": "{name}", "shared": shared}})
    network = build_network(config.model_copy(update={{"architecture": chosen}}))
    outputs = network(torch.rand(2, 3, config.height, config.width))
    found = {{task.name: outputs[task.name]["final"].shape for task in config.task_list}}
    assert found == {{task.name: (2, task.channels, config.height, config.width) for task in config.task_list}}
'''

ARCHITECTURE_METHOD = """\
{name}:
  label: {title}
  family: baseline
  architecture: {{name: {name}}}
"""
