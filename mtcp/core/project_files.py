"""The names of a project's files and folders that more than one module needs."""

from pathlib import Path
from typing import Final

from mtcp.core.files import visible

#: What the project states and what it compares with.
CLAIMS: Final = "config/claims.yaml"
LEDGER: Final = "config/ledger.yaml"
PUBLISHED: Final = "results/published.csv"
PUBLISHED_WEIGHTING: Final = "results/published_weighting.csv"
PROTOCOLS: Final = "results/published_protocols.csv"
#: Folders of the project.
RUNS: Final = "results/runs"
TABLES: Final = "results/tables"
REFERENCE: Final = "results/reference"
REPORTS: Final = "reports"

#: In a run's folder. `run.json` is written last: a folder without it holds no finished training.
RECORD: Final = "run.json"
HISTORY: Final = "history.csv"
STATE: Final = "state.pt"
MODEL: Final = "model.safetensors"
BEST_ON_VALIDATION: Final = "model-validation.safetensors"
SAMPLES: Final = "samples"
EXTREMES: Final = "extremes"
FAILURE: Final = "failure.txt"
LOCK: Final = ".lock"
#: Beside a method's runs, so that it is copied and moved with them.
SPEED: Final = "speed.json"
_SNAPSHOTS: Final = "snapshots"

#: The tables of one benchmark: `results/tables/<benchmark>/<name>.csv`. Real data sets also get LITERATURE.
TABLE_NAMES: Final = (
    "runs", "history", "multi_task", "summary", "comparisons", "claims", "pairs", "paper", "methods", "curves",
    "changes", "classes", "images", "ranks", "provenance", "speed",
)  # fmt: skip
LITERATURE: Final = "literature"
#: For all benchmarks, in the folder of tables: a folder of `mean_metrics_file`s, and a table.
METRICS: Final = "metrics"
DELTA_M: Final = "delta_m.csv"


def run_folder(root: Path, benchmark: str, method: str, seed: int, train_key: str) -> Path:
    """The folder of one run in the project at `root`."""
    return root / RUNS / benchmark / method / f"seed{seed}-{train_key}"


def speed_file(root: Path, benchmark: str, method: str) -> Path:
    """The file with what `mtcp benchmark` measured for one method."""
    return root / RUNS / benchmark / method / SPEED


def lock_file(root: Path, data: str) -> Path:
    """The file that pins the content of data set `data`."""
    return root / f"data/{data}.lock.json"


def dvc_file(root: Path, data: str) -> Path:
    """The file by which DVC tracks data set `data`."""
    return root / f"data/{data}.dvc"


def metrics_file(eval_key: str) -> str:
    """Name of the file with a run's metrics."""
    return f"metrics-{eval_key}.json"


def images_file(eval_key: str) -> str:
    """Name of the file with a run's statistics per test image."""
    return f"images-{eval_key}.npz"


def mean_metrics_file(benchmark: str, method: str) -> str:
    """Path of one method's mean metrics in the folder of tables."""
    return f"{METRICS}/{benchmark}/{method}.json"


def sheet_file(position: int, image_id: str) -> str:
    """Name of an image's prediction sheet, in a folder of sheets."""
    return f"{position:02d}-{image_id.replace('/', '_')}.png"


def snapshot_file(epoch: int) -> str:
    """Name of the network saved after `epoch`, counted from 0."""
    return f"{_SNAPSHOTS}/epoch-{epoch:04d}.safetensors"


def snapshots(folder: Path) -> list[Path]:
    """The networks saved during training in a run's folder, in the order of their epochs.

    Without the hidden, unfinished file that a killed process leaves there.
    """
    return visible(folder / _SNAPSHOTS, "*.safetensors")
