"""What all tests share: fast ones first, one thread, the repository's root, tools that may be absent."""

import os
import shutil
from pathlib import Path

# Before torch is imported: timings and bits on shared machines should not depend on the number of cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = ROOT.parent / "shared/data"

NEEDED = {
    "browser": ("chromium", "chromedriver"),
    "latex": ("pdflatex",),
    "cluster": ("munged", "slurmctld", "slurmd", "sbatch", "scancel"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first; a test whose tool is absent is skipped with the reason, except where CI demands all."""
    items.sort(key=lambda item: (item.get_closest_marker("slow") is not None, "cluster" in item.keywords))
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    for item in items:
        for marker, tools in NEEDED.items():
            absent = [tool for tool in tools if shutil.which(tool, path=path) is None]
            if item.get_closest_marker(marker) and absent and "MTCP_REQUIRE_TOOLS" not in os.environ:
                item.add_marker(pytest.mark.skip(reason=f"{', '.join(absent)} not installed on this machine"))
        if item.get_closest_marker("cluster") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="starting SLURM needs root"))
        if item.get_closest_marker("realdata") and not REAL_DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason="the real photographs of ../shared/data are not here"))


@pytest.fixture
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photographs with dense labels."""
    return REAL_DATA
