"""All architectures with their costs and declared parameters: what `mtcp models` shows."""

from collections.abc import Callable
from dataclasses import dataclass

from mtcp.core import plugins
from mtcp.core.config import PluginConfig, Project
from mtcp.core.errors import UserError
from mtcp.models.cost import Cost, cost


@dataclass(frozen=True)
class Entry:
    """An architecture with the switches that `methods` give it; the name alone where they give none.

    `refusal` says why it cannot be built for the benchmark; there is no cost then.
    """

    architecture: str
    methods: tuple[str, ...]
    cost: Cost | None
    refusal: str = ""


def catalogue(
    project: Project, benchmark: str, show: Callable[[int, int], None], grid: str | None = None
) -> list[Entry]:
    """Return an entry per architecture and set of switches that a method uses, and the plug-ins that none uses.

    With `grid`, of its methods alone. `show(done, total)` is told of progress. Raises `UserError` for an unknown grid.
    """
    if grid is not None and grid not in project.grids:
        raise UserError(f"unknown grid '{grid}': config/grids.yaml has {', '.join(project.grids)}")
    used: dict[str, list[str]] = {}
    configs = {}
    for method in project.methods if grid is None else project.grids[grid].methods:
        config = project.resolve(benchmark, method, 0)
        text = _described(config.architecture)
        used.setdefault(text, []).append(method)
        configs.setdefault(text, config)
    seen = {config.architecture.name for config in configs.values()}
    any_config = next(iter(configs.values()))
    unused = set() if grid else set(plugins.find("architecture", project.root)) - seen
    for name in sorted(unused):
        configs[name] = any_config.model_copy(update={"architecture": PluginConfig(name=name)})
    entries = []
    for done, (text, config) in enumerate(configs.items(), start=1):
        methods = tuple(used.get(text, ()))
        try:
            entries.append(Entry(text, methods, cost(config)))
        except UserError as error:  # an encoder that it does not take, for example
            entries.append(Entry(text, methods, None, str(error)))
        show(done, len(configs))
    return entries


def page(entries: list[Entry], project: Project, title: str) -> str:
    """Return costs and declared parameters as a page in Markdown."""
    lines = [
        "# Costs and parameters of the architectures",
        "",
        "Written by `mtcp models --markdown --benchmark architectures --grid architectures`; a test compares.",
        "What they are: [architectures.md](architectures.md).",
        "",
        f"## {title[0].upper()}{title[1:]}",
        "Parameters in millions and GFLOP of one forward pass of one image; *shared*: in the encoder that tasks share.",
        "Matrix products and convolutions count, a multiplication and an addition as two.",
        "",
        "| architecture | parameters | shared | GFLOP | shared | methods |",
        "|---|---|---|---|---|---|",
    ]
    for entry in entries:
        if entry.cost is not None and entry.cost.gflops:
            numbers = (entry.cost.parameters / 1e6, entry.cost.shared_parameters / 1e6)
            flops = (entry.cost.gflops, entry.cost.shared_gflops)
            cells = [f"{number:.3f}" for number in (*numbers, *flops)]
            lines.append(f"| {entry.architecture} | {' | '.join(cells)} | {_shortened(entry.methods)} |")
    lines += ["", "## Declared parameters", "", "| architecture | parameter | default | |", "|---|---|---|---|"]
    for name in sorted({entry.architecture.split(" ")[0] for entry in entries}):
        lines += _declared(name, project)
    return "\n".join(lines) + "\n"


def _declared(name: str, project: Project) -> list[str]:
    fields = plugins.load("architecture", name, project.root).Parameters.model_fields
    return [
        f"| {name} | `{field}` | {'null' if info.default is None else str(info.default).lower()} | {info.description} |"
        for field, info in fields.items()
    ]


def _shortened(methods: tuple[str, ...]) -> str:
    return ", ".join(methods) if len(methods) <= 3 else f"{methods[0]} and {len(methods) - 1} more"


def _described(architecture: PluginConfig) -> str:
    switches = ", ".join(f"{name}={value}" for name, value in architecture.given.items())
    return f"{architecture.name} ({switches})" if switches else architecture.name
