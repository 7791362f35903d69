"""Where the released code differs from what is claimed or intended, as data: `config/ledger.yaml`."""

from pathlib import Path
from typing import Literal

from mtcp.core.claims import Evidence
from mtcp.core.files import read_yaml
from mtcp.core.validation import Model, fault, validated


class Row(Model):
    """One difference: what was `released`, `where` it was read, what is done `here`, and what shows the difference.

    Severity A changes results, B stops a run, C is cosmetic.
    """

    id: str
    severity: Literal["A", "B", "C"]
    evidence: Evidence
    released: str
    where: list[str]
    here: str
    covered_by: list[str]


def load_ledger(path: Path) -> list[Row]:
    """Read `config/ledger.yaml`, none where there is no such file; raises `UserError` naming file, line and key."""
    rows: list[Row] = []
    for place, entry in enumerate(read_yaml(path, list) if path.exists() else []):
        row = validated(Row, entry, path, place)
        if row.id in {other.id for other in rows}:
            raise fault(path, (place, "id"), f"'{row.id}' is used twice: renumber one")
        rows.append(row)
    return rows
