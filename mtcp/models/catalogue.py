"""All architectures with their costs and declared parameters, as `mtcp models` shows them."""

from collections.abc import Callable
from dataclasses import dataclass

from mtcp.core import plugins
from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.run_config import PluginConfig
from mtcp.models.cost import Cost, cost


@dataclass(frozen=True)
class Entry:
    """An architecture with the parameters that `methods` set; only its name where they set none.

    Where it cannot be built for the benchmark, `refusal` gives the reason and `cost` is None.
    """

    architecture: str
    methods: tuple[str, ...]
    cost: Cost | None
    refusal: str = ""


def catalogue(
    project: Project, benchmark: str, show: Callable[[int, int], None], grid: str | None = None
) -> list[Entry]:
    """Return one entry per architecture and set of parameters that a method uses, and one per unused plug-in.

    With `grid`, only those of its methods. `show(done, total)` reports progress. Raises `UserError` for an unknown
    grid.
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
        except UserError as error:  # for example an encoder that the architecture cannot use
            entries.append(Entry(text, methods, None, str(error)))
        show(done, len(configs))
    return entries


def page(entries: list[Entry], project: Project, title: str, command: str) -> str:
    """Return costs and declared parameters as a Markdown page, which `command` writes."""
    lines = [
        "# Costs and parameters of the architectures",
        "",
        f"Written by `{command}`.",
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
