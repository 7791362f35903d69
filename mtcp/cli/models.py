"""`mtcp models` and `mtcp architectures`: list architectures with their costs, and start a new one."""

from typing import Annotated

import typer

from mtcp.cli.options import AsJson, print_table, progress
from mtcp.cli.writing import NewName, write_new

COLUMNS = ["architecture", "parameters", "gflops", "shared_parameters", "shared_gflops", "methods", "refused"]

architectures = typer.Typer(
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="Architectures: `mtcp models` lists them; start your own here.",
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("models")(models)
    app.add_typer(architectures, name="architectures")


@architectures.command()
def new(name: NewName) -> None:
    """Write plugins/NAME.py, a commented architecture that works, and plugins/tests/test_NAME.py.

    Example: mtcp architectures new my_network
    """
    from mtcp.cli import templates

    write_new("architecture", name, templates.ARCHITECTURE, templates.ARCHITECTURE_TEST, templates.ARCHITECTURE_METHOD)


def models(
    benchmark: Annotated[
        str | None,
        typer.Option(
            "--benchmark", help="The benchmark whose size and tasks count (default: the first of params.yaml)."
        ),
    ] = None,
    grid: Annotated[
        str | None, typer.Option("--grid", help="Only the methods of this grid of config/grids.yaml.")
    ] = None,
    as_json: AsJson = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a page of documentation: costs and declared parameters.")
    ] = False,
) -> None:
    """List architectures with their parameters and GFLOPs per image, in total and in the encoder that tasks share.

    One row per architecture and set of parameters that a method of config/methods.yaml uses; unused architectures are
    listed with their defaults. Nothing is downloaded, and no data are needed.
    """
    from mtcp.core.project import Project
    from mtcp.models.catalogue import catalogue, page

    project = Project()
    benchmark = benchmark or project.params.benchmarks[0]
    with progress("counting") as show:
        entries = catalogue(project, benchmark, show, grid)
    size = project.benchmark(benchmark)
    title = f"{benchmark}: one image of {size.height}x{size.width}, encoder {size.encoder.model}"
    if as_markdown:
        chosen = f" --grid {grid}" if grid else ""
        command = f"mtcp models --markdown --benchmark {benchmark}{chosen}"
        typer.echo(page(entries, project, title, command), nl=False)
        return
    rows = [
        {
            "architecture": entry.architecture,
            "parameters": entry.cost and entry.cost.parameters,
            "gflops": entry.cost and round(entry.cost.gflops, 3),
            "shared_parameters": entry.cost and entry.cost.shared_parameters,
            "shared_gflops": entry.cost and round(entry.cost.shared_gflops, 3),
            "methods": ", ".join(entry.methods),
            "refused": entry.refusal,
        }
        for entry in entries
    ]
    print_table(COLUMNS, rows, as_json, title=title)
