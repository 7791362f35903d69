"""The command line `mtcp COMMAND`: one file per group of commands; only commands that need torch import it."""

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn

import typer

from mtcp.core.errors import REMEDIES, UserError, refusal
from mtcp.core.startup import quiet_libraries, uncollected

app = typer.Typer(
    rich_markup_mode="markdown",
    name="mtcp",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reproducibility benchmark suite for multi-task dense prediction.\n\n"
    "`snakemake --cores all` (or `make reproduce`) runs everything; these commands are its single steps, "
    "and what is needed to look, check and explain.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from mtcp import __version__

        typer.echo(f"mtcp {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def _register() -> None:
    from mtcp.cli import (
        benchmark,
        data,
        evaluate,
        grid,
        init,
        literature,
        models,
        plan,
        report,
        schemes,
        show,
        store,
        train,
        use,
        watch,
    )

    for module in (plan, train, evaluate, benchmark, store, report, use, watch, literature, init):
        module.register(app)
    app.add_typer(grid.app, name="grid")
    app.add_typer(data.app, name="data")
    models.register(app)
    app.add_typer(schemes.app, name="schemes")
    app.add_typer(show.app, name="show")


def main() -> None:
    """Run the command line; a `UserError` is printed as one sentence on standard error, with exit status 2."""
    quiet_libraries()
    with uncollected():
        _register()
    try:
        app()
    except UserError as error:
        print(f"mtcp: {error}", file=sys.stderr)
        _leave(2)
    except OSError as error:
        if error.errno not in REMEDIES:  # a fault of mtcp's own keeps its traceback
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"mtcp: {place}{refusal(error)}", file=sys.stderr)
        _leave(2)
    except SystemExit as done:
        _leave(done.code)


def _leave(status: str | int | None) -> NoReturn:
    """Exit; if torch is loaded, without freeing its objects one by one, which takes a second."""
    if "torch" in sys.modules and isinstance(status, int):
        atexit._run_exitfuncs()
        with suppress(OSError, AttributeError):  # a closed output
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    sys.exit(status)
