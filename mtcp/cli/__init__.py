"""The command line `mtcp COMMAND`: one file per group of commands; only commands that need torch import it."""

import atexit
import errno
import os
import sys
from contextlib import suppress
from typing import Final, NoReturn

import typer

from mtcp.core.errors import UserError
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


#: What the system refuses a user. Any other error of a file is a fault of mtcp's, and keeps its traceback.
_OF_THE_SYSTEM: Final = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST, errno.EIO, errno.ELOOP, errno.EMFILE,
}  # fmt: skip


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
        if error.errno not in _OF_THE_SYSTEM:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"mtcp: {place}{error.strerror}; free space, or give yourself access, and try again", file=sys.stderr)
        _leave(2)
    except SystemExit as done:
        _leave(done.code)


def _leave(status: str | int | None) -> NoReturn:
    """Exit; if torch is loaded, without freeing its objects one by one, which takes a second."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # its reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"mtcp: the output is not complete: {error.strerror}", file=sys.stderr)
        os._exit(2)
    if "torch" in sys.modules and isinstance(status, int):
        atexit._run_exitfuncs()
        with suppress(OSError):
            sys.stderr.flush()
            os._exit(status)
    sys.exit(status)
