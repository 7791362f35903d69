"""What the head of a report says of its data."""

import json
import shutil
from pathlib import Path

from mtcp.core.project import Project
from mtcp.report.data_facts import data_facts


def test_derived_targets_counts_and_resizing_are_said(tmp_path: Path, root: Path) -> None:
    shutil.copytree(root / "config", tmp_path / "config")
    (tmp_path / "data").mkdir()
    lock = {
        "digest": "d" * 64,
        "counts": {"train": 6, "val": 2},
        "derived": {"normals": "depth, local plane fits", "edge": "semseg, label boundaries"},
        "packaging": "NYUD_MT 425x560",
    }
    (tmp_path / "data/nyud.lock.json").write_text(json.dumps(lock))
    said = data_facts(Project(tmp_path), "nyud")
    assert "6 training and 2 test images" in said
    assert "normals derived from depth, local plane fits" in said
    assert ("edge derived from" in said) == ("edge" in Project(tmp_path).benchmark("nyud").tasks)
    assert "NYUD_MT 425x560, resized to 480x640 for the network" in said
    assert "semseg, depth as given" in said
