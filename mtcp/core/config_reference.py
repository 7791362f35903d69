"""The reference of all configuration files, generated from their validating models: a page, and schemas for editors."""

from collections.abc import Iterator
from typing import Any, Final

from mtcp.core.claims import Claim
from mtcp.core.config import Benchmark, Grid, Method, Params
from mtcp.core.data_sets import Description
from mtcp.core.ledger import Row
from mtcp.core.names import FORM
from mtcp.core.validation import Model

FILES: Final[dict[str, type[Model]]] = {
    "params": Params,
    "benchmark": Benchmark,
    "methods": Method,
    "grids": Grid,
    "claims": Claim,
    "ledger": Row,
    "data": Description,
}
#: Files of several entries: by name, or a list.
_NAMED: Final = ("methods", "grids")
_LISTS: Final = ("claims", "ledger")
_TITLES: Final = {
    "params": "`params.yaml`",
    "benchmark": "`config/benchmarks/NAME.yaml`",
    "methods": "`config/methods.yaml`, one entry per method",
    "grids": "`config/grids.yaml`, one entry per grid",
    "claims": "`config/claims.yaml`, a list",
    "ledger": "`config/ledger.yaml`, a list",
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
    """The JSON schema of one of the configuration's `FILES`."""
    found = FILES[file].model_json_schema()
    definitions = found.pop("$defs", {})
    if file in ("benchmark", "methods"):
        found = _extensible(found, definitions)
    if file in _NAMED:
        found = {"type": "object", "propertyNames": {"pattern": f"^{FORM}$"}, "additionalProperties": found}
    elif file in _LISTS:
        found = {"type": "array", "items": found}
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
    return {**draft, "$defs": definitions} if definitions else draft


def _extensible(found: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of an entry that may extend another one: it then needs nothing but what differs."""
    required = found.pop("required")
    # An entry that extends another one may also give only part of a section.
    sections = {name: value["$ref"].split("/")[-1] for name, value in found["properties"].items() if "$ref" in value}
    whole = {name: {"required": needed} for name, of in sections.items() if (needed := definitions[of].get("required"))}
    for section in sections.values():
        definitions[section].pop("required", None)
    found["properties"] = {"extends": _EXTENDS, **found["properties"]}
    return {**found, "anyOf": [{"required": ["extends"]}, {"required": required, "properties": whole}]}


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
    default = value.get("default", [] if value.get("type") == "array" else {})
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
    bounds = [f"{sign} {value[key]:,}" for key, sign in signs.items() if key in value]
    kind = str(value["type"])
    return " ".join([words.get(kind, kind), ", ".join(bounds)]).strip()
