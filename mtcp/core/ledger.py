"""The differences between the released code and what is claimed or intended, as data: `config/ledger.yaml`."""

from pathlib import Path
from typing import Literal

from mtcp.core.claims import Evidence
from mtcp.core.entries import Entry, read_entries


class Row(Entry):
    """One difference: what was `released`, `where` in the code, what is done `here`, and what covers it.

    Severity: A changes results, B stops a run, C is cosmetic.
    """

    severity: Literal["A", "B", "C"]
    evidence: Evidence
    released: str
    where: list[str]
    here: str
    covered_by: list[str]


def load_ledger(path: Path) -> list[Row]:
    """Read `config/ledger.yaml`; none if there is no such file. Raises `UserError` naming file, line and key."""
    return read_entries(Row, path)
