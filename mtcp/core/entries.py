"""Lists of entries in YAML files, each identified by its `id`."""

from pathlib import Path
from typing import TypeVar

from pydantic import Field

from mtcp.core.files import read_yaml
from mtcp.core.validation import Model, fault, validated


class Entry(Model):
    """An entry of a list, with a unique `id`."""

    id: str = Field(description="its name, which no other entry of the file has")


AnyEntry = TypeVar("AnyEntry", bound=Entry)


def read_entries(model: type[AnyEntry], path: Path) -> list[AnyEntry]:
    """Read the entries of a YAML list; none if there is no such file.

    Raises `UserError` naming file, line and key for an entry that is not a valid `model`, and for a repeated `id`.
    """
    found: list[AnyEntry] = []
    for place, content in enumerate(read_yaml(path, list) if path.exists() else []):
        entry = validated(model, content, path, place)
        if entry.id in {other.id for other in found}:
            raise fault(path, (place, "id"), f"'{entry.id}' is used twice: rename one")
        found.append(entry)
    return found
