"""The house's bounds: no class above 150 lines, no function above 60."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Lines that a class or a function may have, its decorators left out.
MOST = {ast.ClassDef: 150, ast.FunctionDef: 60, ast.AsyncFunctionDef: 60}
FILES = sorted(
    path for folder in ("mtcp", "baselines", "examples", "workflow") for path in (ROOT / folder).rglob("*.py")
)


def too_long(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if type(node) in MOST:
            lines = node.end_lineno - node.lineno + 1
            if lines > MOST[type(node)]:
                yield f"{node.name}: {lines} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_classes_and_functions_are_short(path: Path) -> None:
    assert list(too_long(path.read_text(encoding="utf-8"))) == []


def test_long_ones_are_found() -> None:
    body = "    x = 1\n"
    assert list(too_long("def short():\n" + 59 * body)) == []
    assert list(too_long("def long():\n" + 60 * body)) == ["long: 61 lines"]
    assert list(too_long("class Long:\n" + 150 * body)) == ["Long: 151 lines"]
