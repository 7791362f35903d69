"""`mtcp data`: get, check and look at data sets."""

from typing import Annotated

import typer

from mtcp.cli.options import progress

app = typer.Typer(no_args_is_help=True, help="Import, render, verify and show data sets.")

SetName = Annotated[str, typer.Argument(help="A data set or benchmark, such as rooms or nyud.", metavar="NAME")]


@app.command()
def render(name: SetName) -> None:
    """Render a benchmark's data set into data/NAME and record its digest in data/NAME.lock.json.

    Example: mtcp data render rooms
    """
    from mtcp.config import Project
    from mtcp.data import sets

    with progress(f"rendering {name}") as on_image:
        typer.echo(f"wrote {sets.render(Project(), name, on_image)}")


@app.command()
def prepare(name: SetName) -> None:
    """Make data set NAME lie in data/: pulled through DVC where it is tracked, else rendered; used by the workflow."""
    from mtcp.config import Project
    from mtcp.data import sets

    with progress(f"preparing {name}") as on_image:
        typer.echo(f"ready: {sets.prepare(Project(), name, on_image)}")
