"""`mtcp architectures` and `mtcp models`: what there is, at what cost, and one of your own."""

from typing import Annotated

import typer

from mtcp.cli.options import AsJson, print_table, progress
from mtcp.cli.writing import NewName, write_new
from mtcp.core.config import PluginConfig

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
    benchmark: Annotated[str, typer.Option("--benchmark", help="The benchmark whose size and tasks count.")] = "rooms",
    as_json: AsJson = False,
) -> None:
    """List architectures with their parameters and GFLOPs per image, in all and in the encoder that tasks share.

    One row per architecture and set of switches that a method of config/methods.yaml uses; architectures in plugins/
    that no method uses are listed with their defaults. Nothing is downloaded, and no data are needed.
    """
    from mtcp.core import plugins
    from mtcp.core.config import Project
    from mtcp.models.cost import cost

    project = Project()
    used: dict[str, list[str]] = {}
    configs = {}
    for method in project.methods:
        config = project.resolve(benchmark, method, 0)
        text = _described(config.architecture)
        used.setdefault(text, []).append(method)
        configs.setdefault(text, config)
    seen = {config.architecture.name for config in configs.values()}
    for name in sorted(set(plugins.find("architecture", project.root)) - seen):
        any_config = next(iter(configs.values()))
        configs[name] = any_config.model_copy(update={"architecture": PluginConfig(name=name)})
    rows = []
    with progress("counting") as show:
        for text, config in configs.items():
            found = cost(config)
            rows.append(
                {
                    "architecture": text,
                    "parameters": found.parameters,
                    "gflops": round(found.gflops, 3),
                    "shared_parameters": found.shared_parameters,
                    "shared_gflops": round(found.shared_gflops, 3),
                    "methods": ", ".join(used.get(text, [])),
                }
            )
            show(len(rows), len(configs))
    size = project.benchmark(benchmark)
    print_table(
        ["architecture", "parameters", "gflops", "shared_parameters", "shared_gflops", "methods"],
        rows,
        as_json,
        title=f"{benchmark}: one image of {size.height}x{size.width}, encoder {size.encoder.model}",
    )


def _described(architecture: PluginConfig) -> str:
    switches = ", ".join(f"{name}={value}" for name, value in architecture.given.items())
    return f"{architecture.name} ({switches})" if switches else architecture.name
