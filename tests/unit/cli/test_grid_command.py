"""`mtcp grid add-seeds` and what it refuses."""

import pytest
from typer.testing import CliRunner

from mtcp.cli.grid import app


@pytest.mark.parametrize("count", ["0", "-3", "1001", "100000000"])
def test_a_count_that_nobody_means_is_refused(count, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["add-seeds", "--", count])
    assert result.exit_code == 2 and "COUNT" in result.output
