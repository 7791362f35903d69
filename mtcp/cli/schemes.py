"""`mtcp schemes`: list and explain weighting schemes, and start a new one."""

from typing import Annotated

import typer

from mtcp.cli.options import AsJson, print_table
from mtcp.cli.writing import NewName, write_new

app = typer.Typer(
    rich_markup_mode="markdown",
    help="Weighting schemes: the field's, and your own in one file.\n\n"
    "Without a command: list all of them, those in plugins/ included.",
    invoke_without_command=True,
)


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
    """Print a scheme's formula, source, caveat and parameters.

    Example: mtcp schemes show lps
    """
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
def new(
    name: NewName,
    gradient: Annotated[
        bool, typer.Option("--gradient", help="A scheme that combines the tasks' gradients, not their losses.")
    ] = False,
) -> None:
    """Write plugins/NAME.py, a commented scheme that works, and plugins/tests/test_NAME.py.

    Example: mtcp schemes new my_scheme
    """
    from mtcp.cli import templates

    code, test = (
        (templates.GRADIENT_SCHEME, templates.GRADIENT_TEST) if gradient else (templates.SCHEME, templates.SCHEME_TEST)
    )
    write_new("scheme", name, code, test, templates.METHOD)
