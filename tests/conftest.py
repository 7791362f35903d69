"""What all tests share: fast ones first, one thread, the repository's root, tools that may be absent."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Before torch is imported: timings and bits on shared machines should not depend on the number of cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import yaml

pytest_plugins = ["made_up_store"]

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = ROOT.parent / "shared/data"

#: What a project of a user's own consists of.
PARTS = ("config", "workflow", "profiles", "plugins", "Snakefile", "params.yaml", "dvc.yaml", "requirements.lock")

NEEDED = {
    "browser": ("chromium", "chromedriver"),
    "latex": ("pdflatex",),
    "cluster": ("munged", "slurmctld", "slurmd", "sbatch", "scancel"),
}


def pytest_configure() -> None:
    """A suite in the background, or under nohup, would pass ignored signals on to the runs that it stops by them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first, then SLURM's, which waits most; where a tool is absent its tests are skipped, except in CI."""
    items.sort(key=lambda item: (item.get_closest_marker("slow") is not None, "cluster" not in item.keywords))
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    absent = {
        marker: [tool for tool in tools if shutil.which(tool, path=path) is None] for marker, tools in NEEDED.items()
    }
    for item in items:
        for marker, tools in absent.items():
            if item.get_closest_marker(marker) and tools and "MTCP_REQUIRE_TOOLS" not in os.environ:
                item.add_marker(pytest.mark.skip(reason=f"{', '.join(tools)} not installed on this machine"))
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


class ProjectFolder:
    """A copy of the project in which commands run, by the interpreter `python`; its YAML files are easily changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.python = sys.executable

    def edit(self, name: str, **changes: object) -> None:
        """Set keys of a YAML file; `a__b` sets key b inside a."""
        file = self.path / name
        content = yaml.safe_load(file.read_text())
        for key, value in changes.items():
            *parents, leaf = key.split("__")
            inner = content
            for parent in parents:
                inner = inner[parent]
            inner[leaf] = value
        file.write_text(yaml.safe_dump(content, sort_keys=False))

    def run(self, *command: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment under test in the project, and return its output."""
        return subprocess.run(
            self.command(*command), cwd=self.path, env=environment(), capture_output=True, text=True, timeout=timeout
        )

    def start(self, *command: str, under: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start a command of the environment under test in the project, as the head of a process group.

        `under` is a command that runs others.
        """
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*under, *self.command(*command)], cwd=self.path, env=environment(), stdout=pipe, stderr=pipe, text=True,
            start_new_session=True,
        )  # fmt: skip

    def wait_for(self, pattern: str, seconds: float = 300) -> Path | None:
        """Return the first file that matches `pattern` as soon as there is one; None after `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := next(self.path.glob(pattern), None):
                return found
            time.sleep(0.05)
        return None

    def command(self, tool: str, *arguments: str) -> list[str]:
        return [self.python, "-m", tool, *arguments]

    def snakemake(self, *arguments: str, cores: int = 2) -> subprocess.CompletedProcess[str]:
        return self.run("snakemake", "--cores", str(cores), *arguments)

    def mtcp(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("mtcp", *arguments)


def environment() -> dict[str, str]:
    """One thread each, no colours, and the environment's own commands first on the PATH, as DVC calls `snakemake`."""
    here = Path(sys.executable).parent
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "NO_COLOR": "1",
        "DVC_NO_ANALYTICS": "1",
        "PYTHONPATH": str(ROOT),
        "PATH": f"{here}:{os.environ['PATH']}",
    }


def make_project(path: Path) -> ProjectFolder:
    """Make a project in folder `path` whose `rooms` has 16 training and 6 test images and trains two short epochs."""
    for part in PARTS:
        source = ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, path / part)
    (path / "results").mkdir()
    shutil.copy(ROOT / "results/published.csv", path / "results")
    (path / "data").mkdir()
    for lock in (ROOT / "data").glob("*.lock.json"):
        shutil.copy(lock, path / "data")
    (path / "data/rooms.lock.json").unlink(missing_ok=True)
    folder = ProjectFolder(path)
    folder.edit(
        "config/benchmarks/rooms.yaml",
        rendered__train=16,
        rendered__test=6,
        training__epochs=2,
        training__batch_size=4,
        training__warmup_epochs=0,
        channels=8,
        encoder={"kind": "timm", "model": "resnet10t", "args": {"channels": [8, 8, 16, 16], "stem_width": 8}},
        validation_share=0.2,
    )
    folder.edit("params.yaml", benchmarks=["rooms"], methods=["single_task", "mtcp"], seeds=[0, 1])
    return folder


@pytest.fixture
def project(tmp_path: Path) -> ProjectFolder:
    """A small project of a user's own; see `make_project`."""
    return make_project(tmp_path)


@pytest.fixture(scope="session")
def small_project() -> Callable[[Path], ProjectFolder]:
    """`make_project`, for tests that share one trained project."""
    return make_project


@pytest.fixture(scope="session")
def trained_project(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[Path], ProjectFolder]:
    """A small project after its first `snakemake`, with four runs, as a copy in a given folder.

    The workflow runs once for all test processes: a run depends on its configuration alone, not on its folder.
    """
    mine = tmp_path_factory.getbasetemp()
    base = mine if worker_id == "master" else mine.parent
    with (base / "trained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "trained").exists():
            making = tmp_path_factory.mktemp("training")
            done = make_project(making).snakemake()
            assert done.returncode == 0, done.stdout + done.stderr
            making.rename(base / "trained")
    return lambda path: ProjectFolder(shutil.copytree(base / "trained", path, symlinks=True, dirs_exist_ok=True))


@pytest.fixture(scope="session")
def project_at() -> type[ProjectFolder]:
    """Runs commands in a project that lies in a given folder already."""
    return ProjectFolder
