"""The configuration's reference and schemas: current, and true of the files that are shipped."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from mtcp.core.config_reference import FILES, markdown, schema
from mtcp.core.data_sets import BUNDLED


def test_the_page_is_current(root: Path) -> None:
    text = (root / "docs/configuration.md").read_text(encoding="utf-8")
    assert text == markdown(), "run: mtcp show reference > docs/configuration.md"


def test_every_key_is_described() -> None:
    assert [line for line in markdown().splitlines() if line.startswith("| `") and line.endswith("|  |")] == []


@pytest.mark.parametrize("file", FILES)
def test_the_schema_is_current(root: Path, file: str) -> None:
    written = json.loads((root / f"workflow/schemas/{file}.schema.json").read_text(encoding="utf-8"))
    assert written == schema(file), f"run: mtcp show schema {file} > workflow/schemas/{file}.schema.json"


@pytest.mark.slow
def test_every_shipped_file_passes_its_schema(root: Path) -> None:
    benchmarks = sorted((root / "config/benchmarks").glob("*.yaml"))
    for path, file in (
        (root / "params.yaml", "params"),
        *((root / f"config/{file}.yaml", file) for file in ("methods", "grids", "claims", "ledger")),
        *((path, "benchmark") for path in benchmarks),
        *((path, "data") for path in sorted(BUNDLED.glob("*.yaml"))),
    ):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        jsonschema.validate(json.loads(json.dumps(content)), schema(file))  # keys of JSON are text


def test_a_mistake_does_not_pass(root: Path) -> None:
    base = {"extends": "rooms", "label": "X"}
    jsonschema.validate(base, schema("benchmark"))
    jsonschema.validate({**base, "training": {"epochs": 9}}, schema("benchmark"))
    rooms = yaml.safe_load((root / "config/benchmarks/rooms.yaml").read_text(encoding="utf-8"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**rooms, "training": {"epochs": 9}}, schema("benchmark"))
    for wrong in ({"label": "X"}, {**base, "higth": 48}, {**base, "height": 2}, {**base, "layout": "no name"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema("benchmark"))
