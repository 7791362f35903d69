"""`mtcp show`: the resolved configuration, and its reference."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtcp.cli.options import AsJson, BenchmarkName, MethodName, print_table

if TYPE_CHECKING:
    from mtcp.core.inheritance import Resolved
    from mtcp.core.validation import Model

app = typer.Typer(
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="Show what a benchmark or a method comes to, and every key there is.",
)


@app.command()
def benchmark(name: BenchmarkName, as_json: AsJson = False) -> None:
    """Show a benchmark with everything that it inherits, every default, and where each value was written.

    Example: mtcp show benchmark rooms
    """
    from mtcp.core.plugins import find
    from mtcp.core.project import Project
    from mtcp.core.references import require_benchmark_parameters, require_known_in_benchmark
    from mtcp.data.locks import require_one_set

    project = Project()
    require_known_in_benchmark(project, name, find("scheme", project.root, faulty=True))
    require_one_set(project, name)
    require_benchmark_parameters(project, name)
    _show(project.benchmark(name), project.benchmark_entry(name), project.root, as_json)


@app.command()
def method(name: MethodName, as_json: AsJson = False) -> None:
    """Show a method with everything that it inherits, every default, and where each value was written.

    Example: mtcp show method mtcp
    """
    from mtcp.core.project import Project
    from mtcp.core.references import require_method_parameters

    project = Project()
    require_method_parameters(project, name)
    _show(project.method(name), project.method_entry(name), project.root, as_json)


@app.command()
def reference() -> None:
    """Print docs/configuration.md, the reference of every key.

    Example: mtcp show reference
    """
    from mtcp.core.config_reference import markdown

    typer.echo(markdown(), nl=False)


@app.command()
def schema(
    file: Annotated[
        str, typer.Argument(help="params, benchmark, methods, grids, claims, ledger or data.", metavar="FILE")
    ],
) -> None:
    """Print the JSON schema of one kind of configuration file, by which editors complete and check it.

    Example: mtcp show schema benchmark
    """
    from mtcp.core.config_reference import FILES
    from mtcp.core.config_reference import schema as schema_of
    from mtcp.core.errors import UserError

    if file not in FILES:
        raise UserError(f"'{file}' has no schema: give {', '.join(FILES)}")
    typer.echo(json.dumps(schema_of(file), indent=1))


def _show(found: "Model", entry: "Resolved", root: Path, as_json: bool) -> None:
    rows = [
        {"key": ".".join(keys), "value": json.dumps(value), "from": entry.origin(keys, root)}
        for keys, value in _leaves(found.model_dump(mode="json"))
    ]
    print_table(["key", "value", "from"], rows, as_json)


def _leaves(content: Mapping[str, Any], keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*keys, key))
        else:
            yield (*keys, key), value
