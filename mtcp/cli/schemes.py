"""`mtcp schemes`: list and explain weighting schemes, and start one of your own."""

from pathlib import Path
from typing import Annotated

import typer

from mtcp.cli.options import AsJson, print_table
from mtcp.core.errors import UserError

app = typer.Typer(
    help="Weighting schemes: the field's, and your own in one file.\n\n"
    "Without a command: list all of them, those in plugins/ included.",
    invoke_without_command=True,
)

_SCHEME = '''\
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
    # equal_epochs = 0       epochs in which equal weights are by design
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

_TEST = '''\
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

_METHOD = """\
{name}:
  label: MT-CP network, {name}
  family: scheme
  architecture: {{name: mtcp}}
  scheme: {{name: {name}}}
"""


@app.callback()
def schemes(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is not None:
        return
    from mtcp.weighting.catalogue import catalogue

    rows = [
        {
            "name": one.name,
            "cost": one.cost,
            "parameters": {p["name"]: p["default"] for p in one.parameters}
            if as_json
            else ", ".join(f"{p['name']}={p['default']}" for p in one.parameters),
            "description": one.title,
        }
        for one in catalogue()
    ]
    print_table(["name", "cost", "parameters", "description"], rows, as_json)


@app.command()
def show(name: Annotated[str, typer.Argument(help="A scheme, such as lps.")]) -> None:
    """Print a scheme's formula, source, caveat and parameters."""
    from mtcp.weighting.catalogue import entry

    one = entry(name)
    typer.echo(f"{one.name} ({one.path})\n\n{one.text}\n\nCost: {one.cost}")
    for parameter in one.parameters:
        typer.echo(
            f"  {parameter['name']}: {parameter['type']}, default {parameter['default']}; {parameter['description']}"
        )


@app.command()
def docs() -> None:
    """Print docs/schemes.md: `mtcp schemes docs > docs/schemes.md`."""
    from mtcp.core.plugins import PACKAGE_ROOT
    from mtcp.weighting.catalogue import catalogue, markdown

    own = PACKAGE_ROOT / "plugins"
    typer.echo(markdown([one for one in catalogue() if not one.path.is_relative_to(own)]), nl=False)


@app.command()
def new(name: Annotated[str, typer.Argument(help="The scheme's name: [a-z0-9_]+.")]) -> None:
    """Write plugins/NAME.py, a commented scheme that works, and plugins/tests/test_NAME.py.

    Example: mtcp schemes new my_scheme && pytest plugins/tests
    """
    import re

    from mtcp.core import plugins
    from mtcp.core.files import write_text

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"'{name}' is no name for a scheme: use [a-z0-9_]+, a letter first")
    if name in plugins.find("scheme"):
        raise UserError(f"scheme '{name}' exists already, in {plugins.path_of('scheme', name)}: choose another name")
    title = "".join(part.capitalize() for part in name.split("_"))
    files = {
        Path(plugins.USER_FOLDER) / f"{name}.py": _SCHEME,
        Path(plugins.USER_FOLDER) / "tests" / f"test_{name}.py": _TEST,
    }
    for path in files:
        if path.exists():
            raise UserError(f"{path} exists already: move it away or choose another name")
    for path, text in files.items():
        write_text(path, text.format(name=name, title=title))
        typer.echo(f"wrote {path}")
    typer.echo("\nTest it with `pytest plugins/tests`. For a row in every table, append to config/methods.yaml")
    typer.echo(f"\n{_METHOD.format(name=name)}")
    typer.echo(f"and add {name} to `methods` in params.yaml.")
