"""Using what was trained: predictions on photographs, the exported file, the run as an object."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtcp.api import UserError, load_run

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 60, 90


@pytest.fixture(scope="module")
def trained(tmp_path_factory, trained_project):
    """A small project with trained and evaluated runs, and a photograph that is not of its data set."""
    project = trained_project(tmp_path_factory.mktemp("used"))
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(project.path / "mine.png")
    return project


@pytest.fixture(scope="module")
def run(trained):
    return load_run("rooms/mtcp/seed0", trained.path)


def test_predictions_have_the_photographs_size_and_the_tasks_units(trained, run) -> None:
    found = run.predict(trained.path / "mine.png")
    assert {task: (values.shape, values.dtype) for task, values in found.items()} == {
        "semseg": ((HEIGHT, WIDTH), np.uint8),
        "depth": ((HEIGHT, WIDTH), np.float32),
        "normals": ((HEIGHT, WIDTH, 3), np.float32),
        "edge": ((HEIGHT, WIDTH), np.float32),
    }
    assert np.linalg.norm(found["normals"], axis=-1) == pytest.approx(1, abs=1e-5)
    assert ((found["edge"] >= 0) & (found["edge"] <= 1)).all()


def test_a_test_image_is_predicted_as_the_evaluation_saw_it(trained, run) -> None:
    """Hits and misses of an image's predicted classes are those that the evaluation stored."""
    ids, statistics = run.statistics()
    image = next((trained.path / "data/rooms/images").glob(f"{ids[0]}.*"))
    truth = np.asarray(Image.open(trained.path / f"data/rooms/segmentation/{ids[0]}.png")) - 1
    found = run.predict(image)["semseg"]
    seen = truth != 255
    hits = [int((seen & (truth == k) & (found == k)).sum()) for k in range(13)]
    misses = [int((seen & (truth == k) & (found != k)).sum()) for k in range(13)]
    assert hits == statistics["semseg"]["tp"][0].tolist()
    assert misses == statistics["semseg"]["fn"][0].tolist()


def test_the_command_writes_pictures_and_values(trained, run) -> None:
    done = trained.mtcp("predict", "rooms/mtcp/seed0", "mine.png", "--json")
    assert done.returncode == 0, done.stderr
    folder = trained.path / f"results/predictions/rooms/mtcp/seed0-{run.record.train_key}"
    assert sorted(trained.path / name for name in json.loads(done.stdout)) == sorted(folder.iterdir())
    found = run.predict(trained.path / "mine.png")
    classes = Image.open(folder / "mine-semseg.png")
    assert classes.mode == "P"
    assert np.array_equal(np.asarray(classes), found["semseg"])
    assert np.array_equal(np.load(folder / "mine-depth.npy"), found["depth"])
    millimetres = np.asarray(Image.open(folder / "mine-depth.png"))
    assert millimetres.dtype == np.uint16
    assert np.abs(millimetres / 1000 - found["depth"].clip(0)).max() <= 0.00051
    assert Image.open(folder / "mine-normals.png").mode == "RGB"
    width, height = Image.open(folder / "mine-sheet.png").size
    assert height > 5 * 0.6 * width, "the photograph and four tasks, one below the other"


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:FutureWarning")
def test_the_exported_file_gives_what_the_network_gives(trained, run) -> None:
    done = trained.mtcp("export", "rooms/mtcp/seed0", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert max(told["differences"].values()) < 1e-5
    from mtcp.data.loading.batches import normalised

    image = 255 * torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        outputs = torch.jit.load(str(trained.path / told["model"]))(image.clone())
        expected = run.network(normalised(image.clone()))
    for task, output in zip(("semseg", "depth", "normals", "edge"), outputs, strict=True):
        torch.testing.assert_close(output, expected[task]["final"], rtol=1e-4, atol=1e-5)
    card = (trained.path / told["card"]).read_text()
    assert run.record.train_key in card
    assert run.record.data.digest in card
    assert "| depth | rmse |" in card


def test_the_run_as_an_object(run) -> None:
    assert run.name == "rooms/mtcp/seed0"
    assert (run.config.height, run.record.status) == (48, "finished")
    assert list(run.history["epoch"]) == [0, 1]
    last = run.metrics.query("selection == 'last' and output == 'final'").set_index(["task", "metric"])["value"]
    images = run.images()
    assert len(images) == 6
    # The mean angle of the split pools pixels; each image has its own.
    assert images["normals", "mean"].min() <= last["normals", "mean"] <= images["normals", "mean"].max()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("rooms/mtcp/seed2", "mine.png"), "train it with `mtcp train rooms mtcp --seed 2`"),
        (("rooms/mtcp", "mine.png"), "'rooms/mtcp' is not a run: give BENCHMARK/METHOD/seedK"),
        (("rooms/mtcp/seed0", "params.yaml"), "params.yaml cannot be decoded"),
        (("rooms/mtcp/seed0", "gone.png"), "gone.png is not a file"),
        (("rooms/mtcp/seed0", "mine.png", "mine.png"), "two photographs are called 'mine'"),
        (("rooms/mtcp/seed0", "data"), "data is a folder: name its photographs, such as data/*.jpg"),
    ],
)
def test_mistakes_are_one_sentence(trained, arguments: tuple[str, ...], sentence: str) -> None:
    done = trained.mtcp("predict", *arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert sentence in done.stderr


def test_nothing_is_written_where_a_photograph_is_missing(trained, tmp_path: Path) -> None:
    done = trained.mtcp("predict", "rooms/mtcp/seed0", "mine.png", "gone.png", "--output", str(tmp_path / "new"))
    assert done.returncode == 2
    assert not (tmp_path / "new").exists()


def test_changed_weights_are_not_used(trained, tmp_path: Path) -> None:
    import shutil

    (folder,) = (trained.path / "results/runs/rooms/mtcp").glob("seed0-*")
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    with (copy / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UserError, match="is not the file that was written"):
        load_run(copy).network  # noqa: B018


def test_the_notebook_runs(trained, root: Path) -> None:
    """Its code cells, one after another, in the project's folder; the last expression of each is evaluated, too."""
    notebook = json.loads((root / "examples/trained_run.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 5
    script = "\n".join(["import matplotlib", "matplotlib.use('agg')", *cells])
    (trained.path / "notebook_cells.py").write_text(script)
    done = trained.run("notebook_cells")
    assert done.returncode == 0, done.stderr
