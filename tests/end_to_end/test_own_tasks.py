"""Tasks under names of one's own: from a described set to tables, a report, a prediction and an exported network."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from mtcp.api import load_run

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 32, 48
ROCKS = ["granite", "basalt", "gneiss", "slate"]
DESCRIPTION = {
    "title": "Quarry",
    "images": "photos/{split}/{id}.png",
    "tasks": {
        "roughness": {"kind": "regression", "files": "roughness/{id}.npy"},
        "materials": {"kind": "semseg", "files": "materials/{id}.png", "names": ROCKS},
        "semseg": {"files": "cover/{id}.png", "coding": "one", "names": ["sky", "rock"]},
        "height": {"kind": "regression", "files": "height/{id}.png", "scale": 0.1, "offset": -500, "void": 0},
        "facing": {"kind": "normals", "files": "facing/{id}.npy"},
        "wet": {"kind": "sal", "files": "wet/{id}.png"},
    },
}
BENCHMARK = {
    "label": "Quarry", "layout": "quarry", "height": HEIGHT, "width": WIDTH, "channels": 8,
    "tasks": {
        "wet": {"kind": "sal"},
        "height": {"kind": "regression", "unit": "cm", "rope": 5.0, "label": "Height over ground"},
        "semseg": {"classes": 2},
        "roughness": {"kind": "regression", "rope": 0.1},
        "facing": {"kind": "normals"},
        "materials": {"kind": "semseg", "classes": 4},
    },
    "encoder": {"kind": "timm", "model": "resnet10t", "args": {"channels": [8, 8, 16, 16], "stem_width": 8}},
    "augmentation": {"policy": "nyud"}, "training": {"epochs": 1, "batch_size": 4},
    "evaluation": {"batch_size": 4, "samples": 1}, "baseline": "mtl_baseline", "reference": "mtcp",
}  # fmt: skip
METHODS = ("mtl_baseline", "mtcp", "trivial_prior")
ORDER = ["semseg", "facing", "height", "materials", "roughness", "wet"]


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)


def make_images(folder: Path) -> None:
    """Eight training and four test photographs with their six maps."""
    for number in range(12):
        draws = np.random.default_rng(number)
        split = "train" if number < 8 else "val"
        write(folder / f"photos/{split}/{number}.png", draws.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8))
        cover = np.where(np.arange(HEIGHT)[:, None] < 10 + number, 1, 2).repeat(WIDTH, axis=1).astype(np.uint8)
        cover[0, 0] = 0
        write(folder / f"cover/{number}.png", cover)
        write(folder / f"materials/{number}.png", draws.integers(0, 4, (HEIGHT, WIDTH)).astype(np.uint8))
        write(folder / f"height/{number}.png", draws.integers(0, 10_000, (HEIGHT, WIDTH)).astype(np.uint16))
        write(folder / f"roughness/{number}.npy", draws.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32))
        facing = draws.normal(0, 1, (HEIGHT, WIDTH, 3)).astype(np.float32)
        facing[..., 2] = -np.abs(facing[..., 2])
        write(folder / f"facing/{number}.npy", facing / np.linalg.norm(facing, axis=-1, keepdims=True))
        write(folder / f"wet/{number}.png", 255 * draws.integers(0, 2, (HEIGHT, WIDTH)).astype(np.uint8))


@pytest.fixture(scope="module")
def quarry(tmp_path_factory, small_project):
    """A project whose one benchmark has five tasks under names of its own, imported, trained and evaluated."""
    project = small_project(tmp_path_factory.mktemp("quarry"))
    make_images(project.path / "source")
    (project.path / "data/quarry.yaml").write_text(yaml.safe_dump(DESCRIPTION, sort_keys=False))
    (project.path / "config/benchmarks/quarry.yaml").write_text(yaml.safe_dump(BENCHMARK, sort_keys=False))
    project.edit("params.yaml", benchmarks=["quarry"], methods=list(METHODS), seeds=[0])
    said(project, "data", "import", "quarry", "source", "--no-dvc")
    said(project, "check", "quarry")
    for method in METHODS:
        for step in ("train", "evaluate"):
            said(project, step, "quarry", method, "--seed", "0")
    said(project, "tables", "quarry")
    return project


def said(project, *command: str) -> str:
    done = project.mtcp(*command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_set_is_verified_task_by_task(quarry) -> None:
    found = json.loads(said(quarry, "data", "verify", "quarry", "--json"))
    assert list(found) == ["sizes", *ORDER]
    assert found["height"] == pytest.approx({"mean": 0, "standard_deviation": 289}, abs=15)
    assert found["materials"]["shares"] == pytest.approx([0.25] * 4, abs=0.03)
    assert found["facing"].keys() == {"up", "down", "facing", "side"}
    said(quarry, "data", "show", "quarry")
    packaging = json.loads((quarry.path / "data/quarry/packaging.json").read_text())
    assert (packaging["facing"]["z"], packaging["materials"]["names"]) == ("away", ROCKS)


def test_tables_have_every_task_in_its_unit(quarry) -> None:
    tables = quarry.path / "results/tables/quarry"
    runs = pd.read_csv(tables / "runs.csv")
    final = runs[(runs.selection == "last") & (runs.output == "final") & (runs.method == "mtcp")]
    primary = {"semseg": "miou", "materials": "miou", "facing": "mean", "wet": "max_miou"}
    primary |= {"height": "rmse", "roughness": "rmse"}
    rows = final.set_index(["task", "metric"]).value
    values = {task: rows[task, metric] for task, metric in primary.items()}
    assert 250 < values["height"] < 350 and 0.8 < values["roughness"] < 2, "the truths spread by 289 cm and 1"
    assert 0 < values["materials"] < 0.5 and 0 <= values["facing"] <= 180
    assert [task for task in dict.fromkeys(final.task) if task in primary] == ORDER
    assert "coherence" not in set(final.task), "nothing of the field's stands beside the segmentation"
    changes = pd.read_csv(tables / "multi_task.csv")
    assert {"delta_m", "delta_m_per_metric"} <= set(changes.metric)
    classes = pd.read_csv(tables / "classes.csv")
    assert set(classes[classes.task == "materials"].name) == set(ROCKS)
    prior = runs[(runs.method == "trivial_prior") & (runs.task == "height") & (runs.metric == "rmse")]
    assert prior.value.item() == pytest.approx(289, rel=0.1), "what is known without looking at the photograph"


def test_the_report_has_labels_and_units(quarry) -> None:
    said(quarry, "report", "quarry")
    page = (quarry.path / "reports/quarry.html").read_text()
    for words in ("Height over ground", "Roughness", "RMSE cm ↓", "granite"):
        assert words in page, words
    assert "Height over ground" in (quarry.path / "reports/quarry.tex").read_text()


def test_a_photograph_is_predicted_and_the_network_exported(quarry) -> None:
    photograph = quarry.path / "source/photos/val/9.png"
    said(quarry, "predict", "quarry/mtcp/seed0", str(photograph), "--output", "seen")
    seen = quarry.path / "seen"
    assert np.load(seen / "9-height.npy").shape == np.load(seen / "9-roughness.npy").shape == (HEIGHT, WIDTH)
    assert np.load(seen / "9-facing.npy").shape == (HEIGHT, WIDTH, 3)
    assert np.asarray(Image.open(seen / "9-materials.png")).max() < 4
    names = load_run("quarry/mtcp/seed0", quarry.path).class_names
    assert names == {"semseg": ["sky", "rock"], "materials": ROCKS}, "sheets and cards have the set's own names"
    said(quarry, "export", "quarry/mtcp/seed0", "--output", "out")
    card = (quarry.path / "out/MODEL_CARD.md").read_text()
    assert f"{', '.join(ORDER)} = network(image)" in card
    assert "| height | 1 | Height over ground: value, in cm |" in card
    assert f"Classes of materials, from 0: {', '.join(ROCKS)}." in card
    assert "| roughness | 1 | Roughness: value, in the unit of the data set |" in card


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("regresion", "key 'tasks.height.kind': expected one of semseg, "),
        (None, "key 'tasks.height.kind': required, and missing: 'height' is not a standard task"),
        ("depth", "key 'tasks.height.kind': depth here, and regression in"),
    ],
)
def test_a_kind_that_is_wrong_or_another_than_the_descriptions_is_one_sentence(quarry, kind, words) -> None:
    path = quarry.path / "config/benchmarks/quarry.yaml"
    before = path.read_text()
    content = yaml.safe_load(before)
    content["tasks"]["height"] = {"kind": kind} if kind else {"rope": 1.0}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    try:
        done = quarry.mtcp("plan")
    finally:
        path.write_text(before)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.search(rf"config/benchmarks/quarry.yaml, line \d+, {words}", " ".join(done.stderr.split())), done.stderr
