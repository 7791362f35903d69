"""Names of a project's files."""

from pathlib import Path

from mtcp.core.project_files import snapshot_file, snapshots


def test_an_unfinished_snapshot_is_none(tmp_path: Path) -> None:
    whole = [tmp_path / snapshot_file(epoch) for epoch in (0, 1)]
    whole[0].parent.mkdir()
    for path in (*whole, whole[0].with_name(".epoch-0002-x1.safetensors")):
        path.touch()
    assert snapshots(tmp_path) == whole
