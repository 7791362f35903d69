"""The rooms of `mtcp/`: every module stands in one, and imports only from rooms above its own."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Each room and the rooms it may import from; CONTRIBUTING.md shows the same table.
ROOMS: dict[str, set[str]] = {
    "core": set(),
    "data": {"core"},
    "metrics": {"core"},
    "models": {"core"},
    "weighting": {"core"},
    "training": {"core", "data", "models", "weighting"},
    "evaluation": {"core", "data", "metrics", "models"},
}
for _room in ("store", "analysis", "report", "cli"):
    ROOMS[_room] = set(ROOMS)
#: What stands beside the rooms: the version, the door of `python -m mtcp`, and the public interface.
BESIDE = {"__init__", "__main__", "api"}


def module_name(path: Path) -> str:
    """Dotted name of a module; a package's `__init__` counts as the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for folder in ("mtcp", "baselines") for path in (ROOT / folder).rglob("*.py")}


def imported(path: Path) -> Iterator[str]:
    """The project's modules that a file imports, wherever in it, those for type checkers included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            # `from package import module` imports the module; `from module import name` the module alone.
            names = [
                full if (full := f"{node.module}.{alias.name}") in MODULES else str(node.module) for alias in node.names
            ]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ("mtcp", "baselines"))


def room_of(name: str) -> str:
    """The room of a module of `mtcp`; "" for what stands beside the rooms."""
    first = [*name.split("."), ""][1]
    return "" if first in BESIDE else first


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name.startswith("mtcp.")))
def test_a_module_stands_in_a_room_and_imports_from_rooms_above_it(name: str) -> None:
    room = room_of(name)
    if not room:
        return
    assert room in ROOMS, f"{name} stands in no room"
    wrong = sorted(
        other
        for other in imported(MODULES[name])
        if room_of(other) != room and room_of(other) not in ROOMS[room] | {""}
    )
    assert wrong == [], f"{name} imports from a later room"
    assert "mtcp.api" not in imported(MODULES[name]), f"{name} imports the public interface, which is built on it"


def test_no_circle() -> None:
    graph = {name: set(imported(path)) & set(MODULES) - {"mtcp"} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_baselines_import_the_public_interface_alone() -> None:
    wrong = {
        name: others
        for name, path in MODULES.items()
        if name.startswith("baselines")
        and (others := sorted({other for other in imported(path) if other.startswith("mtcp")} - {"mtcp.api"}))
    }
    assert wrong == {}


def test_contributing_shows_the_table() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    missing = [room for room in ROOMS if f"| `{room}/` |" not in table]
    assert missing == []
    assert sorted(ROOMS, key=lambda room: table.index(f"| `{room}/` |")) == list(ROOMS), "rooms above come first"
