"""A tiny rendered project, with everything a run needs."""

import shutil
from pathlib import Path

import pytest
import yaml

from mtcp.core.project import Project

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The `rooms` benchmark with six training and five test images, rendered."""
    from mtcp.data.preparation import sets

    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "config", root / "config")
    path = root / "config/benchmarks/rooms.yaml"
    rooms = yaml.safe_load(path.read_text())
    rooms["rendered"] |= {"train": 6, "test": 5}
    rooms["evaluation"] |= {"batch_size": 2, "samples": 3}
    path.write_text(yaml.safe_dump(rooms))
    (root / "params.yaml").write_text("{benchmarks: [rooms], methods: [trivial_prior], seeds: [0]}\n")
    project = Project(root)
    sets.render(project, "rooms")
    return project
