"""The reference of all configuration files, generated from their validating models: a page, and schemas for editors."""

from collections.abc import Iterator
from typing import Any, Final

from mtcp.core.config import Benchmark, Method, Params
from mtcp.core.data_sets import Description
from mtcp.core.validation import Model

FILES: Final[dict[str, type[Model]]] = {
    "params": Params,
    "benchmark": Benchmark,
    "methods": Method,
    "data": Description,
}
_TITLES: Final = {
    "params": "`params.yaml`",
    "benchmark": "`config/benchmarks/NAME.yaml`",
    "methods": "`config/methods.yaml`, one entry per method",
    "data": "`data/NAME.yaml`, a data set of your own",
}
_EXTENDS: Final = {
    "type": "string",
    "description": "the entry that this one is based on; only what differs is written, and null takes a key out",
}
_HEAD: Final = """\
# Configuration

Every key of every file, from the models that check them: `mtcp show reference > docs/configuration.md`. Editors
complete and check the files with `workflow/schemas/*.schema.json` (`mtcp show schema`). `mtcp show benchmark NAME` and
`mtcp show method NAME` print a benchmark or a method as resolved, and where each value was written.

An entry with `extends: NAME` states only what differs from entry NAME: mappings are merged key by key, everything else
is replaced, and null removes an inherited key. A plug-in or an encoder with another `name` or `model` replaces the
inherited one entirely. `label` and `description` are never inherited. A benchmark uses the data set of the one that it
extends, unless it changes what determines a rendered set (`rendered`, `height`, `width`).
"""


def schema(file: str) -> dict[str, Any]:
    """The JSON schema of one configuration file: "params", "benchmark", "methods" or "data"."""
    found = FILES[file].model_json_schema()
    if file in ("params", "data"):
        return _draft(found)
    required, definitions = found.pop("required"), found.pop("$defs")
    # An entry that extends another one may also give only part of a section.
    sections = {name: value["$ref"].split("/")[-1] for name, value in found["properties"].items() if "$ref" in value}
    whole = {name: {"required": needed} for name, of in sections.items() if (needed := definitions[of].get("required"))}
    for section in sections.values():
        definitions[section].pop("required", None)
    found["properties"] = {"extends": _EXTENDS, **found["properties"]}
    found["anyOf"] = [{"required": ["extends"]}, {"required": required, "properties": whole}]
    if file == "benchmark":
        return _draft({**found, "$defs": definitions})
    names = {"pattern": "^[a-z0-9_]+$"}
    return _draft({"type": "object", "propertyNames": names, "additionalProperties": found, "$defs": definitions})


def _draft(found: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def markdown() -> str:
    """The page docs/configuration.md."""
    return "\n".join([_HEAD, *(line for file in FILES for line in _file(file))])


def _file(file: str) -> Iterator[str]:
    found = FILES[file].model_json_schema()
    yield from _table(f"## {_TITLES[file]}", found)
    for name, inner in sorted(found.get("$defs", {}).items()):
        if inner.get("properties"):
            yield from _table(f"### {name}", inner)


def _table(title: str, found: dict[str, Any]) -> Iterator[str]:
    yield from (title, "", _text(found.get("description", "")), "", "| key | value | default | |", "|---|---|---|---|")
    for key, value in found["properties"].items():
        default = "required" if key in found.get("required", ()) else f"`{_default(value)}`"
        yield f"| `{key}` | {_kind(value)} | {default} | {_text(value.get('description', ''))} |"
    yield ""


def _text(description: str) -> str:
    """The first paragraph on one line."""
    return " ".join(description.split("\n\n")[0].split())


def _default(value: dict[str, Any]) -> str:
    default = value.get("default", {})
    return "null" if default is None else "{...}" if isinstance(default, dict) and default else str(default)


def _kind(value: dict[str, Any]) -> str:
    """A value's type and bounds as text."""
    if "$ref" in value:
        return value["$ref"].rpartition("/")[2]
    if "anyOf" in value:
        return " or ".join(_kind(one) for one in value["anyOf"])
    if "enum" in value or "const" in value:
        return ", ".join(f"`{one}`" for one in value.get("enum", [value.get("const")]))
    match value.get("type"):
        case "array":
            each = value.get("prefixItems")
            return f"[{', '.join(map(_kind, each))}]" if each else f"list of {_kind(value['items'])}"
        case "object":
            inner = value.get("additionalProperties")
            return f"mapping to {_kind(inner)}" if isinstance(inner, dict) else "mapping"
        case None:
            return "any"
    words = {"string": "text", "boolean": "true or false", "integer": "whole number"}
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {value[key]:g}" for key, sign in signs.items() if key in value]
    kind = str(value["type"])
    return " ".join([words.get(kind, kind), *bounds])
