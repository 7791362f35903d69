"""The .npy packages of the loss-weighting literature in their exact form on disk: read, imported, refused."""

import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.tasks import VOID
from mtcp.data.formats import packaging
from mtcp.data.formats.opening import open_layout
from mtcp.data.loading.batches import evaluation_batches, open_split, training_batches
from mtcp.data.preparation import sets
from mtcp.data.preparation.checking import check_set
from mtcp.data.preparation.contents import content_digest
from mtcp.data.preparation.importing import import_set
from mtcp.data.preparation.sets import dvc

HEIGHT, WIDTH, TRAIN, VAL = 24, 32, 11, 3
DISPARITY = {"unit": "disparity", "rope": 0.0002}


def frame(number: int) -> dict[str, np.ndarray]:
    """A wall above a floor; the first pixels of label, depth and normals are void."""
    rng = np.random.default_rng(number)
    rows = np.arange(HEIGHT)[:, None].repeat(WIDTH, axis=1)
    label = np.where(rows < 12, 11, 4).astype(np.float64)
    label[6:12, 4 : 8 + number % 8] = number % 13
    depth = np.where(rows < 12, 3.0, 36.0 / np.maximum(rows, 1)).astype(np.float32)[..., None]
    normal = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    normal[..., 2] = -1
    normal[rows >= 12] = (0, -0.6, -0.8)
    label[0, 0], depth[0, 1], normal[0, 2] = -1, 0, 0
    return {"image": rng.integers(0, 256, (HEIGHT, WIDTH, 3)) / 255, "label": label, "depth": depth, "normal": normal}


def write(folder: Path, frames) -> Path:
    for split, count in (("train", TRAIN), ("val", VAL)):
        for number in range(count):
            for name, values in frames(number + (100 if split == "val" else 0)).items():
                place = folder / split / name
                place.mkdir(parents=True, exist_ok=True)
                np.save(place / f"{number}.npy", values)
    return folder


@pytest.fixture
def nyuv2(tmp_path: Path) -> Path:
    return write(tmp_path / "nyuv2", frame)


def street(number: int) -> dict[str, np.ndarray]:
    """Labels of 2, 7 and 19 classes, and a disparity in steps of 1/65535 that is missing on the right."""
    arrays = frame(number)
    label = np.where(arrays["label"] < 0, -1, arrays["label"] % 7)
    disparity = np.rint(65535 * 0.1 / np.maximum(arrays["depth"], 0.5)) / 65535
    disparity[:, 20:] = 0
    return {
        "image": arrays["image"], "label_7": label, "label_2": np.minimum(label, 1),
        "label_19": np.where(label < 0, -1, label + 12), "depth": disparity,
    }  # fmt: skip


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    return write(tmp_path / "cityscapes2", street)


@pytest.fixture
def mtan_project(tmp_path: Path) -> Project:
    """A project with a benchmark for each package."""
    root = tmp_path / "project"
    (root / "config/benchmarks").mkdir(parents=True)
    tasks = {
        "nyuv2_13": ("mtan_nyuv2", {"semseg": {"classes": 13}, "depth": {}, "normals": {"loss": "normals_cosine"}}),
        "cityscapes_7": ("mtan_cityscapes", {"semseg": {"classes": 7}, "depth": DISPARITY}),
        "cityscapes_19": ("mtan_cityscapes", {"semseg": {"classes": 19}, "depth": DISPARITY}),
    }
    for name, (layout, chosen) in tasks.items():
        content = {
            "label": name, "data": layout, "layout": layout, "tasks": chosen, "height": HEIGHT, "width": WIDTH,
            "encoder": {"kind": "timm", "model": "resnet18"}, "augmentation": {"policy": "scale_crop"},
            "training": {"epochs": 1, "batch_size": 2, "keep_last_batch": True}, "evaluation": {"batch_size": 2},
        }  # fmt: skip
        (root / f"config/benchmarks/{name}.yaml").write_text(yaml.safe_dump(content))
    methods = {"mtcp": {"label": "MT-CP", "family": "reference", "architecture": {"name": "mtcp"}}}
    (root / "config/methods.yaml").write_text(yaml.safe_dump(methods))
    return Project(root)


def test_nyuv2_is_read_with_its_voids(nyuv2):
    layout = open_layout("mtan_nyuv2", nyuv2)
    assert layout.ids("train") == tuple(f"train_{number}" for number in range(TRAIN))  # 2 before 10
    given = frame(10)
    np.testing.assert_array_equal(layout.image("train_10"), np.rint(given["image"] * 255))
    labels, depth, normals = (layout.target(task, "train_10") for task in ("semseg", "depth", "normals"))
    assert labels[0, 0] == VOID
    np.testing.assert_array_equal(labels[1:], given["label"][1:])
    assert depth[0, 1] == VOID
    np.testing.assert_array_equal(depth[1:], given["depth"][1:, :, 0])
    assert (normals[0, 2] == VOID).all()
    np.testing.assert_allclose(normals[1:], given["normal"][1:], atol=1e-6)


def test_depth_of_8_bits_is_refused(nyuv2):
    np.save(nyuv2 / "train/depth/3.npy", np.full((HEIGHT, WIDTH, 1), 3, np.uint8))
    with pytest.raises(UserError, match=r"image 'train_3': .*depth/3.npy has 8 bits, too few for depth"):
        open_layout("mtan_nyuv2", nyuv2).target("depth", "train_3")


def test_a_package_is_imported_checked_and_recorded(mtan_project, nyuv2):
    done = import_set(mtan_project, "mtan_nyuv2", nyuv2, track=False)
    assert done.lock["counts"] == {"train": TRAIN, "val": VAL}
    assert done.lock["packaging"] == "NYUv2-13 (mtan) 24x32"
    assert done.lock["derived"] == {}
    assert done.lock["digest"] == content_digest(done.folder)
    assert packaging.read(done.folder)["layout"] == "mtan_nyuv2"
    assert (done.folder / "train/normal/7.npy").read_bytes() == (nyuv2 / "train/normal/7.npy").read_bytes()
    assert any("has 11 images, the field's has 795" in warning for warning in done.findings.warnings)
    assert not [warning for warning in done.findings.warnings if "8 bits" in warning]
    assert sets.prepare(mtan_project, "mtan_nyuv2").exists()


@pytest.mark.slow
def test_an_imported_package_is_tracked_by_dvc(mtan_project, nyuv2):
    root = mtan_project.root
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    assert dvc(root, "init", "-q").returncode == 0
    assert import_set(mtan_project, "mtan_nyuv2", nyuv2, track=True).tracked
    (tracked,) = yaml.safe_load((root / "data/mtan_nyuv2.dvc").read_text())["outs"]
    assert tracked["nfiles"] == 4 * (TRAIN + VAL) + 1  # the arrays and packaging.json
    assert "/mtan_nyuv2" in (root / "data/.gitignore").read_text().splitlines()
    assert "up to date" in dvc(root, "status").stdout
    np.save(root / "data/mtan_nyuv2/train/depth/0.npy", np.ones((HEIGHT, WIDTH, 1)))
    assert "modified" in dvc(root, "status").stdout


def test_an_archive_with_a_folder_around_it_holds_the_same_set(mtan_project, nyuv2, tmp_path):
    whole = import_set(mtan_project, "mtan_nyuv2", nyuv2, track=False).lock["digest"]
    with tarfile.open(tmp_path / "nyuv2.tgz", "w:gz") as archive:
        archive.add(nyuv2, "data/nyuv2")
    assert import_set(mtan_project, "mtan_nyuv2", tmp_path / "nyuv2.tgz", track=False).lock["digest"] == whole


@pytest.mark.parametrize(("name", "classes"), [("cityscapes_7", 7), ("cityscapes_19", 19)])
def test_cityscapes_keeps_all_label_maps_and_the_benchmark_chooses(mtan_project, cityscapes, name, classes):
    done = import_set(mtan_project, "mtan_cityscapes", cityscapes, track=False)
    assert sorted(path.name for path in (done.folder / "val").iterdir()) == sorted(street(0))
    config = mtan_project.resolve(name, "mtcp", 0)
    batches = list(evaluation_batches(open_split(config, done.folder, "test"), config))
    assert [batch.ids for batch in batches] == [("val_0", "val_1"), ("val_2",)]
    expected = street(101)["label_7" if classes == 7 else "label_19"]
    np.testing.assert_array_equal(batches[0].targets["semseg"][1], np.where(expected < 0, VOID, expected))
    disparity = batches[0].targets["depth"][1, 0].numpy()
    given = street(101)["depth"][..., 0]
    np.testing.assert_allclose(disparity, np.where(given > 0, given, VOID), rtol=1e-6)


def test_libmtl_calls_the_seven_classes_label(cityscapes):
    for split in ("train", "val"):
        (cityscapes / split / "label_7").rename(cityscapes / split / "label")
    np.testing.assert_array_equal(
        open_layout("mtan_cityscapes", cityscapes, 7).target("semseg", "val_0")[1:], street(100)["label_7"][1:]
    )
    with pytest.raises(UserError, match="no label map of 5 classes: this layout has label_7, label_19 and label_2"):
        open_layout("mtan_cityscapes", cityscapes, 5).target("semseg", "val_0")


def test_training_batches_are_cropped_and_the_last_one_is_kept(mtan_project, nyuv2):
    done = import_set(mtan_project, "mtan_nyuv2", nyuv2, track=False)
    config = mtan_project.resolve("nyuv2_13", "mtcp", 0)
    batches = list(training_batches(open_split(config, done.folder, "train"), config, epoch=0))
    assert [len(batch.ids) for batch in batches] == [2, 2, 2, 2, 2, 1]
    assert sorted(image_id for batch in batches for image_id in batch.ids) == sorted(f"train_{k}" for k in range(TRAIN))
    zooms = {round(float(depth[depth != VOID].max()), 3) for batch in batches for depth in batch.targets["depth"]}
    assert {3.0, 2.5, 2.0} <= zooms


@pytest.mark.parametrize(
    ("place", "values", "words"),
    [
        ("train/image/3.npy", np.full((HEIGHT, WIDTH, 3), 200.0), "RGB / 255, floating point in"),
        ("train/image/3.npy", np.zeros((HEIGHT, WIDTH)), "must have shape"),
        ("train/label/3.npy", np.full((HEIGHT, WIDTH), 3.5), "whole numbers, -1"),
        ("train/label/3.npy", np.full((HEIGHT, WIDTH), 13.0), "semseg has class 13, expected 0..12"),
        ("train/depth/3.npy", np.full((HEIGHT, WIDTH, 1), -1.0), "finite numbers, 0"),
        ("train/depth/3.npy", np.full((HEIGHT, WIDTH, 1), np.nan), "finite numbers, 0"),
        ("train/normal/3.npy", np.full((HEIGHT, WIDTH), 1.0), "of shape"),
        ("train/normal/3.npy", np.full((HEIGHT, WIDTH, 3), 1.0), "no unit vectors"),
        ("train/depth/3.npy", np.ones((WIDTH, HEIGHT, 1)), "transposed"),
    ],
)
def test_a_broken_array_is_named(mtan_project, nyuv2, place, values, words):
    np.save(nyuv2 / place, values)
    with pytest.raises(UserError, match="train_3") as caught:
        import_set(mtan_project, "mtan_nyuv2", nyuv2, track=False)
    assert words in str(caught.value)
    assert not (mtan_project.root / "data/mtan_nyuv2").exists()


def test_a_class_beyond_its_label_map_is_named(mtan_project, cityscapes):
    np.save(cityscapes / "val/label_2/1.npy", np.full((HEIGHT, WIDTH), 2.0))
    with pytest.raises(UserError, match=r"val/label_2/1\.npy has class 2, expected -1 to 1"):
        import_set(mtan_project, "mtan_cityscapes", cityscapes, track=False)


def test_a_gap_and_a_missing_target_are_named(mtan_project, nyuv2):
    (nyuv2 / "train/image/4.npy").unlink()
    (nyuv2 / "val/depth/1.npy").unlink()
    with pytest.raises(UserError) as caught:
        import_set(mtan_project, "mtan_nyuv2", nyuv2, track=False)
    assert "train/image/4.npy is missing (1 in all)" in str(caught.value)
    assert "image 'val_1' has no depth: expected val/depth/1.npy" in str(caught.value)


def test_another_folder_is_refused(mtan_project, tmp_path):
    (tmp_path / "elsewhere/train").mkdir(parents=True)
    with pytest.raises(UserError, match=r"train/image/0\.npy and val/image/0\.npy are not in it"):
        import_set(mtan_project, "mtan_nyuv2", tmp_path / "elsewhere", track=False)


def test_images_that_are_not_8_bit_are_rounded_and_said_to_be(nyuv2):
    np.save(nyuv2 / "train/image/3.npy", np.full((HEIGHT, WIDTH, 3), 0.5001))
    layout = open_layout("mtan_nyuv2", nyuv2)
    assert layout.image("train_3").max() == 128
    assert [w for w in check_set(layout).warnings if "'train_3' is not RGB / 255 of 8 bits" in w]
