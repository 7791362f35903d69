"""Writing a new plug-in from a template."""

from pathlib import Path
from typing import Annotated

import typer

from mtcp.core.errors import UserError

NewName = Annotated[str, typer.Argument(help="Its name: [a-z0-9_]+, a letter first.", metavar="NAME")]


def write_new(kind: str, name: str, code: str, test: str, method: str) -> None:
    """Write plugins/NAME.py and plugins/tests/test_NAME.py, and print the entry for config/methods.yaml.

    Raises `UserError` for an invalid or existing name, before anything is written.
    """
    from importlib.util import find_spec
    from keyword import iskeyword

    from mtcp.core import plugins
    from mtcp.core.files import write_text
    from mtcp.core.names import require_name

    require_name(name, in_code=True)
    module = find_spec(name)
    title = "".join(part.capitalize() for part in name.split("_"))
    of_python = module is not None and Path(module.origin or "/").parent.name != plugins.USER_FOLDER
    if of_python or iskeyword(name) or iskeyword(title):
        raise UserError(f"'{name}' is a Python keyword or the name of a module: choose another name")
    if not Path("config/methods.yaml").is_file():
        raise UserError("config/methods.yaml is missing: run the command from the project's folder")
    if name in plugins.find(kind):
        raise UserError(f"{kind} '{name}' exists already, in {plugins.path_of(kind, name)}: choose another name")
    files = {
        Path(plugins.USER_FOLDER) / f"{name}.py": code,
        Path(plugins.USER_FOLDER) / "tests" / f"test_{name}.py": test,
    }
    for path in files:
        if path.exists():
            raise UserError(f"{path} exists already: move it away or choose another name")
    for path, text in files.items():
        write_text(path, text.format(name=name, title=title))
        typer.echo(f"wrote {path}")
    typer.echo("\nTest it with `pytest plugins/tests`. For a row in every table, append to config/methods.yaml")
    typer.echo(f"\n{method.format(name=name, title=title)}")
    typer.echo(f"and add {name} to `methods` in params.yaml.")
