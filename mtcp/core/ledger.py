"""The differences between the released code and what is claimed or intended, as data: `config/ledger.yaml`."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from mtcp.core.claims import Evidence
from mtcp.core.entries import Entry, read_entries


class Row(Entry):
    """One difference: what was `released`, `where` in the code, what is done `here`, and what covers it."""

    severity: Literal["A", "B", "C"] = Field(description="A changes results, B stops a run, C is cosmetic")
    evidence: Evidence = Field(description="where it was read")
    released: str = Field(description="what the released code does")
    where: list[str] = Field(description="its files and lines there")
    here: str = Field(description="what is done here")
    covered_by: list[str] = Field(description="`method NAME`, an option or a folder of tests that shows the difference")


def load_ledger(path: Path) -> list[Row]:
    """Read `config/ledger.yaml`; none if there is no such file. Raises `UserError` naming file, line and key."""
    return read_entries(Row, path)
