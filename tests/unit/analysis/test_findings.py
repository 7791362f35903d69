"""What is committed of grids on photographs: archives in order, and the tables of docs/findings.md made from them."""

import subprocess
import sys
from pathlib import Path

import pytest

from mtcp.analysis.archived import verify_archive
from mtcp.store.archive import archives

pytestmark = pytest.mark.slow


def test_committed_archives_are_in_order(root: Path) -> None:
    """After a change of the code that makes tables: `mtcp archive BENCHMARK --renew`."""
    folders = archives(root)
    assert "nyud_lite" in [folder.name for folder in folders]
    for folder in folders:
        assert verify_archive(root, folder)[0] == [], folder.name


def test_the_findings_are_those_of_the_archive(root: Path) -> None:
    script = root / "examples/photographs/findings.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False, cwd=root).returncode == 0
