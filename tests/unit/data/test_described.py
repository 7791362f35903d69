"""Sets that a description tells all about: Cityscapes as it is given out, and one's own."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import ExifTags, Image

from mtcp.core.data_sets import Description, layout_names, read_description
from mtcp.core.errors import UserError
from mtcp.core.files import read_json
from mtcp.core.project import Project
from mtcp.core.tasks import VOID
from mtcp.core.validation import validated
from mtcp.data.formats.class_names import semseg_names
from mtcp.data.formats.described import DescribedLayout
from mtcp.data.formats.opening import layout_in, open_layout
from mtcp.data.preparation.codings import Told, mask_codings
from mtcp.data.preparation.contents import content_digest, strays
from mtcp.data.preparation.importing import import_set
from mtcp.data.preparation.sets import open_set
from mtcp.evaluation.predicting import write_predictions

HEIGHT, WIDTH = 32, 64
#: Ids of the official label maps; those of the camera's own car and of licence plates (-1) are not judged.
ROAD, CAR, SKY, EGO, PLATE = 7, 26, 23, 1, 255


def png(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def scene(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photograph, label ids and stored disparity of a street: sky over road, a car, the bonnet of the camera's own."""
    labels = np.full((HEIGHT, WIDTH), SKY, np.uint8)
    labels[HEIGHT // 2 :] = ROAD
    labels[12:24, 8 + number : 24 + number] = CAR
    labels[-2:] = EGO
    labels[20, 12 + number] = PLATE
    disparity = np.where(labels == SKY, 1, 1 + 256 * 10).astype(np.uint16)
    disparity[labels == CAR] = 1 + 256 * 40
    disparity[:, :2] = 0
    image = np.random.default_rng(number).integers(0, 40, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    image += np.where(labels == CAR, 200, np.where(labels == SKY, 100, 0)).astype(np.uint8)[..., None]
    return image, labels, disparity


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """The three packages unpacked into one folder, with what lies beside the files that are read."""
    folder = tmp_path / "cityscapes"
    places = {"train": ("aachen", "bochum"), "val": ("lindau",), "test": ("berlin",)}
    for split, cities in places.items():
        for city in cities:
            for number in range(4):
                name = f"{split}/{city}/{city}_{number:06d}_000019"
                image, labels, disparity = scene(number)
                png(folder / f"leftImg8bit/{name}_leftImg8bit.png", image)
                png(folder / f"gtFine/{name}_gtFine_labelIds.png", np.zeros_like(labels) if split == "test" else labels)
                png(folder / f"gtFine/{name}_gtFine_instanceIds.png", labels.astype(np.uint16) * 1000)
                (folder / f"gtFine/{name}_gtFine_polygons.json").write_text("{}")
                png(folder / f"disparity/{name}_disparity.png", disparity)
    (folder / "README").write_text("Cityscapes")
    return folder


def benchmark(**changes: object) -> dict:
    return {
        "label": "own", "layout": "cityscapes",
        "tasks": {"semseg": {"classes": 19}, "depth": {"metric": "abs_error", "unit": "px", "rope": 0.1}},
        "height": HEIGHT, "width": WIDTH, "channels": 8,
        "encoder": {
            "kind": "timm", "model": "resnet10t", "args": {"channels": [8, 8, 16, 16], "stem_width": 8},
        },
        "augmentation": {"policy": "scale_crop", "zoom_depth": "multiplied"},
        "training": {"epochs": 1, "batch_size": 4}, "evaluation": {"batch_size": 4}, **changes,
    }  # fmt: skip


def write(project: Project, name: str, content: dict) -> Project:
    """Write a benchmark's file, and read the project anew."""
    project.benchmark_path(name).write_text(yaml.safe_dump(content))
    return Project(project.root)


def mtcp(project: Project, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "mtcp", *arguments], cwd=project.root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_cityscapes_from_the_official_files_to_a_trained_network(project: Project, cityscapes: Path) -> None:
    project = write(project, "cityscapes", benchmark())
    (project.root / "params.yaml").write_text("benchmarks: [cityscapes]\nmethods: [mtcp]\nseeds: [0]\n")
    said = mtcp(project, "data", "import", "cityscapes", str(cityscapes), "--no-dvc")
    assert "imported 8 + 4 images" in said and f"Cityscapes {HEIGHT}x{WIDTH}" in said
    folder = project.root / "data/cityscapes"
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 3 * 12 + 1, "these files and packaging.json"
    assert "is in order" in mtcp(project, "data", "verify", "cityscapes")
    assert "finished after 1 epoch," in mtcp(project, "train", "cityscapes", "mtcp", "--seed", "0")
    (record,) = project.root.glob("results/runs/cityscapes/mtcp/seed0-*/run.json")
    assert read_json(record)["status"] == "finished"
    assert read_json(record)["data"]["classes"]["semseg"][13] == "car"
    history = (record.parent / "history.csv").read_text().splitlines()
    assert {"loss_semseg", "loss_depth"} <= set(history[0].split(",")) and len(history) == 2


def test_cityscapes_by_hand(cityscapes: Path) -> None:
    layout = layout_in("cityscapes", cityscapes)
    assert layout.ids("val") == tuple(f"lindau_{number:06d}_000019" for number in range(4))
    assert [one[:6] for one in layout.ids("train")] == ["aachen"] * 4 + ["bochum"] * 4
    labels = layout.target("semseg", "aachen_000001_000019")
    assert [int(labels[y, x]) for y, x in ((0, 30), (18, 0), (15, 12), (31, 5), (20, 13))] == [10, 0, 13, 255, 255]
    depth = layout.target("depth", "aachen_000001_000019")
    assert depth[18, 5] == 10 and depth[15, 12] == 40, "(p - 1) / 256"
    assert depth[18, 0] == 255, "0 is void"
    assert depth[0, 30] == 255, "so is no disparity"
    assert semseg_names("cityscapes", 19)[13] == "car" and semseg_names("nyud", 40)[0] == "wall"


@pytest.mark.parametrize("layout", ["cityscapes", "mtan_cityscapes"])
def test_a_disparity_says_its_unit(project: Project, layout: str) -> None:
    wordless = write(project, "city", benchmark(layout=layout, tasks={"semseg": {"classes": 19}, "depth": {}}))
    with pytest.raises(UserError, match=rf"'depth' of layout '{layout}' is a disparity: say its unit, such as px"):
        wordless.benchmark("city")


def test_a_disparity_is_predicted_as_numbers_and_no_millimetres(project: Project, tmp_path: Path) -> None:
    config = write(project, "city", benchmark()).resolve("city", "mtcp", 0)
    found = {"semseg": np.zeros((8, 8), np.uint8), "depth": np.linspace(2, 90, 64, dtype=np.float32).reshape(8, 8)}
    write_predictions(tmp_path, "street", np.zeros((8, 8, 3), np.uint8), found, config.task_list, {})
    assert Image.open(tmp_path / "street-depth.png").mode == "RGB", "16 bits of thousandths end at 65"
    assert np.load(tmp_path / "street-depth.npy").max() == 90


def test_a_damaged_target_of_a_city_is_named(project: Project, cityscapes: Path) -> None:
    project = write(project, "cityscapes", benchmark())
    missing, short = (f"train/bochum/bochum_00000{k}_000019" for k in (2, 3))
    (cityscapes / f"gtFine/{missing}_gtFine_labelIds.png").unlink()
    path = cityscapes / f"disparity/{short}_disparity.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"2 problems") as error:
        import_set(project, "cityscapes", cityscapes, track=False)
    assert f"gtFine/{missing}_gtFine_labelIds.png; complete" in str(error.value)
    assert f"disparity/{short}_disparity.png cannot be decoded" in str(error.value)


def test_one_id_in_two_cities_and_an_empty_split(project: Project, cityscapes: Path) -> None:
    project = write(project, "cityscapes", benchmark())
    for path in list((cityscapes / "leftImg8bit/val/lindau").iterdir()):
        path.unlink()
    twin = cityscapes / "leftImg8bit/train/bochum/aachen_000000_000019_leftImg8bit.png"
    png(twin, scene(0)[0])
    with pytest.raises(UserError) as error:
        import_set(project, "cityscapes", cityscapes, track=False)
    assert "image 'aachen_000000_000019' lies in two folders" in str(error.value)
    assert "no photograph matches" in str(error.value) and "split 'val' needs at least one" in str(error.value)
    with pytest.raises(UserError, match="is not a cityscapes data set: photographs leftImg8bit/"):
        import_set(project, "cityscapes", cityscapes / "gtFine", track=False)


MASK = np.zeros((20, 24), np.uint8)
MASK[4:9, 5:12], MASK[:2] = 1, VOID


@pytest.mark.parametrize("ending", ["png", "npy"])
@pytest.mark.parametrize("kind", ["sal", "edge"])
def test_masks_of_0_and_1_with_255_for_void_are_read_as_such(tmp_path: Path, kind: str, ending: str) -> None:
    """The largest value is void: half of it, the usual threshold of pictures, would swap objects and void."""
    tasks = {kind: {"files": f"mask/{{id}}.{ending}"}}
    own = validated(Description, {"title": "Own", "images": "photos/{split}/{id}.png", "tasks": tasks}, tmp_path)
    for number in range(3):
        png(tmp_path / f"photos/train/{number}.png", np.zeros((20, 24, 3), np.uint8))
        values = MASK if number else np.where(MASK == VOID, 0, MASK).astype(np.uint8)
        path = tmp_path / f"mask/{number}.{ending}"
        path.parent.mkdir(exist_ok=True)
        png(path, values) if ending == "png" else np.save(path, values)
    layout = DescribedLayout("own", own, tmp_path)
    found = mask_codings(layout, ["0", "1", "2"])
    assert found == ({kind: {"coding": "0/1/255"}} if ending == "png" else {})
    (tmp_path / "packaging.json").write_text(json.dumps({"layout": "own", **found}))
    layout = DescribedLayout("own", own, tmp_path)
    np.testing.assert_array_equal(layout.target(kind, "1"), MASK)
    np.testing.assert_array_equal(layout.target(kind, "0"), np.where(MASK == VOID, 0, MASK), "an image without void")


# The example of docs/data.md.


def documented(root: Path) -> tuple[str, str]:
    """The two files of the section "Data of your own": description and benchmark."""
    section = (root / "docs/data.md").read_text(encoding="utf-8").partition("## Data of your own")[2]
    description, settings = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)[:2]
    return description, settings


@pytest.fixture
def valleys(root: Path, project: Project, tmp_path: Path) -> tuple[Project, Path]:
    """The project and the folder of the example."""
    description, settings = documented(root)
    (project.root / "data").mkdir()
    (project.root / "data/valleys.yaml").write_text(description)
    (project.root / "config/benchmarks/nyud_lite.yaml").write_text(
        (root / "config/benchmarks/nyud_lite.yaml").read_text()
    )
    (project.root / "config/benchmarks/valleys.yaml").write_text(settings)
    folder = tmp_path / "valleys"
    for split, first in (("train", 1), ("test", 5)):
        for number in range(first, first + 4):
            place, cover = f"north/{number:04d}", np.full((24, 32), 10, np.uint8)
            cover[8:16], cover[16:], cover[20:], cover[0, 0], cover[0, 1] = 20, 30, 31, 255, 77
            height = np.full((24, 32), 250, np.uint16)
            height[12:], height[0] = 1000, 0
            noise = np.random.default_rng(number).integers(0, 40, (24, 32, 3)).astype(np.uint8)
            image = noise + np.where(cover == 20, 200, 0).astype(np.uint8)[..., None]
            (folder / f"photos/{split}/north").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"photos/{split}/{place}.jpg")
            png(folder / f"cover/{place}.png", cover)
            png(folder / f"height/{place}.png", height)
            (folder / "slope/north").mkdir(parents=True, exist_ok=True)
            np.save(folder / f"slope/{place}.npy", np.where(cover == 255, np.nan, cover / np.float32(10) - number))
    return Project(project.root), folder


def test_the_documented_example_is_imported_as_it_says(valleys: tuple[Project, Path]) -> None:
    project, source = valleys
    done = import_set(project, "valleys", source, track=False)
    assert done.lock["counts"] == {"train": 4, "val": 4} and done.lock["licence"] == "our own photographs"
    assert done.lock["derived"] == {"edge": "semseg, label boundaries"}
    assert done.findings.warnings == []
    layout = open_set(project, "valleys")
    labels = layout.target("semseg", "0002")
    assert [int(labels[y, 5]) for y in (4, 10, 18, 22)] == [0, 1, 2, 2]
    assert labels[0, 0] == labels[0, 1] == 255, "values without a class are void"
    depth = layout.target("depth", "0002")
    assert depth[4, 5] == 2.5 and depth[20, 5] == 10 and depth[0, 0] == 255
    assert layout.target("edge", "0002")[7, 5] == 1, "water ends where the meadow begins"
    assert layout.packaging["classes"] == ["water", "meadow", "wood"]
    slope = layout.target("slope", "0002")
    assert (slope[4, 5], slope[22, 5]) == (np.float32(-1), np.float32(3.1) - 2) and slope[0, 0] == 255
    assert strays(layout) == []
    (layout.folder / "cover/north/0099.png").write_bytes(b"")
    assert strays(layout) == ["cover/north/0099.png"]
    config = project.resolve("valleys", "mtcp", 0)
    assert config.kinds == {"semseg": "semseg", "depth": "depth", "edge": "edge", "slope": "regression"}
    (slope,) = (task for task in config.task_list if task.name == "slope")
    assert (slope.label, slope.unit, slope.metric_unit) == ("Slope", "°", "°")


def test_depth_of_8_bits_is_refused_whatever_its_unit(valleys: tuple[Project, Path]) -> None:
    project, source = valleys
    for path in source.glob("height/north/*.png"):
        png(path, np.full((24, 32), 200, np.uint8))
    with pytest.raises(UserError, match=r"image '0001': height/north/0001.png has 8 bits, too few for depth"):
        import_set(project, "valleys", source, track=False)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_numbers_are_refused_and_not_taken_for_void(valleys: tuple[Project, Path], value: float) -> None:
    project, source = valleys
    slope = np.load(source / "slope/north/0003.npy")
    slope[2, 3] = value
    np.save(source / "slope/north/0003.npy", slope)
    with pytest.raises(UserError, match=r"image '0003': slope/north/0003.npy holds infinite values: mark pixels with"):
        import_set(project, "valleys", source, track=False)


def test_a_pattern_that_matches_no_file_is_named(valleys: tuple[Project, Path]) -> None:
    project, source = valleys
    own = project.root / "data/valleys.yaml"
    own.write_text(own.read_text().replace("files: slope/", "files: slop/"))
    with pytest.raises(UserError, match=r"no file matches slop/{folder}/{id}.npy: correct `files` of slope in data/va"):
        import_set(project, "valleys", source, track=False)
    own.write_text(own.read_text().replace("files: slop/", "files: slope/").replace("files: cover/", "files: cove/"))
    with pytest.raises(UserError, match=r"cannot be used, 1 problem:\n.*no file matches cove/{folder}/{id}.png"):
        import_set(project, "valleys", source, track=False)


def test_a_target_that_only_some_images_have_is_missing_in_the_others(fields: tuple[Project, Path]) -> None:
    project, source = fields
    own = yaml.safe_load((project.root / "data/fields.yaml").read_text())
    own["tasks"]["wet"] = {"kind": "sal", "files": "wet/{id}.png"}
    (project.root / "data/fields.yaml").write_text(yaml.safe_dump(own))
    png(source / "wet/1.png", np.eye(HEIGHT, WIDTH, dtype=np.uint8) * 255)
    with pytest.raises(UserError) as error:
        import_set(project, "fields", source, track=False)
    assert "no file matches" not in str(error.value) and "image '2' has no wet" in str(error.value)


def test_options_do_not_contradict_the_description(valleys: tuple[Project, Path]) -> None:
    project, source = valleys
    with pytest.raises(UserError, match=r"data/valleys.yaml gives `values`, .*; leave out --label-coding"):
        import_set(project, "valleys", source, track=False, told=Told(label_coding="one"))
    with pytest.raises(UserError, match=r"data/valleys.yaml gives the `unit` of depth, cm; .* leave out --depth-unit"):
        import_set(project, "valleys", source, track=False, told=Told(depth_unit="mm"))


def test_missing_data_of_ones_own_are_imported_and_the_description_committed(valleys: tuple[Project, Path]) -> None:
    project, source = valleys
    with pytest.raises(UserError, match=r"data import valleys PATH`, as data/valleys.yaml describes") as error:
        open_set(project, "valleys")
    assert "fetch" not in str(error.value)
    said = mtcp(project, "data", "import", "valleys", str(source), "--no-dvc")
    assert "now commit data/valleys.yaml and data/valleys.lock.json\n" in said


def test_verify_names_the_classes(valleys: tuple[Project, Path]) -> None:
    project, source = valleys
    import_set(project, "valleys", source, track=False)
    seen = json.loads(mtcp(project, "data", "verify", "valleys", "--json"))["semseg"]
    assert seen["names"] == ["water", "meadow", "wood"] and len(seen["shares"]) == 3
    table = mtcp(project, "data", "verify", "valleys")
    assert re.search(rf"share of meadow +{seen['shares'][1]}", table)
    assert re.search(r"edge +shares +\[", table), "without names, in the order of the values"


def test_numbers_that_are_void_everywhere_are_called_by_their_name(valleys: tuple[Project, Path]) -> None:
    project, source = valleys
    for path in source.glob("slope/north/*.npy"):
        np.save(path, np.full((24, 32), np.nan, np.float32))
    with pytest.raises(UserError, match=r"slope is void at every pixel of the set: is it the wrong file or coding\?"):
        import_set(project, "valleys", source, track=False)


def test_brackets_in_the_name_of_a_folder_are_read_as_such(valleys: tuple[Project, Path]) -> None:
    project, source = valleys
    own = project.root / "data/valleys.yaml"
    own.write_text(own.read_text().replace("images: photos/", "images: photos [old]/"))
    (source / "photos").rename(source / "photos [old]")
    import_set(project, "valleys", source.parent, track=False)
    layout = open_set(project, "valleys")
    assert (layout.ids("train"), layout.ids("val")) == (
        ("0001", "0002", "0003", "0004"),
        ("0005", "0006", "0007", "0008"),
    )


@pytest.mark.parametrize("kind", ["picture of another suffix", "second file", "link to nothing", "folder"])
def test_pictures_that_are_not_read_as_photographs_are_named(valleys: tuple[Project, Path], kind: str) -> None:
    project, source = valleys
    one = source / "photos/test/north/0005.jpg"
    if kind == "picture of another suffix":
        Image.open(one).save(one.with_suffix(".webp"))
        one.unlink()
    elif kind == "second file":
        Image.open(one).save(one.with_suffix(".png"))
    else:
        one.unlink()
        one.mkdir() if kind == "folder" else one.symlink_to("gone.jpg")
    (name,) = (path.name for path in one.parent.glob("0005.*") if kind != "second file" or path != one)
    done = import_set(project, "valleys", source, track=False)
    assert done.lock["counts"]["val"] == (4 if kind == "second file" else 3)
    assert f"photos/test/north/{name}: left out, because photographs are files photos/{{split}}/" in str(
        done.findings.warnings
    )


def test_where_no_photograph_matches_those_of_another_suffix_are_named(valleys: tuple[Project, Path]) -> None:
    project, source = valleys
    for path in source.glob("photos/*/*/*.jpg"):
        Image.open(path).save(path.with_suffix(".TIF"), format="TIFF")
        path.unlink()
    with pytest.raises(UserError, match=r"no photograph matches(.|\n)*0005\.TIF, .* and 5 more: left out"):
        import_set(project, "valleys", source, track=False)


@pytest.mark.parametrize("name", [b"\xff\xfe", b"two\nlines"])
def test_a_name_that_no_table_can_hold_is_refused(valleys: tuple[Project, Path], name: bytes) -> None:
    project, source = valleys
    for folder, suffix in (("photos/test", b".jpg"), ("cover", b".png"), ("height", b".png"), ("slope", b".npy")):
        place = source / folder / "north"
        (place / f"0005{os.fsdecode(suffix)}").rename(place / os.fsdecode(name + suffix))
    with pytest.raises(UserError, match=r"of the split 'test' has a name that is not UTF-8 or has a line break"):
        import_set(project, "valleys", source, track=False)


def test_a_stray_file_whose_name_is_not_utf_8_is_a_stray_file(valleys: tuple[Project, Path]) -> None:
    project, source = valleys
    digest = import_set(project, "valleys", source, track=False).lock["digest"]
    folder = open_set(project, "valleys").folder
    assert content_digest(folder) == digest
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.txt")).write_text("a note")
    assert content_digest(folder) != digest
    assert strays(open_set(project, "valleys")) == ["\udcff.txt"]


def test_labels_are_read_from_arrays_too(valleys: tuple[Project, Path]) -> None:
    project, source = valleys
    own = project.root / "data/valleys.yaml"
    own.write_text(own.read_text().replace("cover/{folder}/{id}.png", "cover/{folder}/{id}.*"))
    pictures = {path: np.asarray(Image.open(path)) for path in source.glob("cover/north/*.png")}
    for path, values in pictures.items():
        np.save(path.with_suffix(".npy"), values.astype(np.int64))
        path.unlink()
    import_set(project, "valleys", source, track=False)
    labels = open_set(project, "valleys").target("semseg", "0002")
    assert labels.dtype == np.uint8 and [int(labels[y, 5]) for y in (4, 10, 18, 22)] == [0, 1, 2, 2]
    for wrong in (-np.ones((24, 32), np.int64), np.ones((24, 32), np.float32), np.full((24, 32), 2**40)):
        np.save(source / "cover/north/0002.npy", wrong)
        with pytest.raises(
            UserError, match=r"'0002': cover/north/0002\.npy is not a label map: expected one channel of"
        ):
            import_set(project, "valleys", source, track=False)


def test_a_split_without_truth_is_told_first(valleys: tuple[Project, Path]) -> None:
    """As in the test splits whose labels are withheld."""
    project, source = valleys
    for number in range(5, 9):
        png(source / f"cover/north/{number:04d}.png", np.full((24, 32), 255, np.uint8))
    found = import_set(project, "valleys", source, track=False).findings
    assert found.warnings[0] == "semseg: all images of the split 'val' are void, so networks are judged on none"
    assert len(found.warnings) == 5


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_photograph_that_exif_turns_is_named(valleys: tuple[Project, Path], orientation: int) -> None:
    """Label tools turn it, as `mtcp predict` does; a set's photographs are read as stored."""
    project, source = valleys
    one = source / "photos/test/north/0005.jpg"
    picture = Image.open(one)
    exif = picture.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    turned = picture.transpose(Image.Transpose.ROTATE_180 if orientation == 3 else Image.Transpose.ROTATE_90)
    turned.save(one, exif=exif)
    said = f"has the EXIF orientation {orientation}, and is read as stored, not turned"
    if orientation == 6:
        with pytest.raises(UserError, match=rf"'0005': .*it is transposed; the photograph {said}\)"):
            import_set(project, "valleys", source, track=False)
    else:
        done = import_set(project, "valleys", source, track=False)
        assert done.findings.warnings == [f"image '0005' {said}: its targets must be stored likewise"]


def test_a_changed_description_calls_for_another_import(valleys: tuple[Project, Path]) -> None:
    project, source = valleys
    before = import_set(project, "valleys", source, track=False).lock["digest"]
    own = project.root / "data/valleys.yaml"
    own.write_text(own.read_text().replace("unit: cm", "unit: dm"))
    with pytest.raises(UserError, match=r"data/valleys.yaml was changed since .*`mtcp data import valleys PATH`"):
        open_set(project, "valleys")
    with pytest.raises(
        UserError,
        match=r"read as the unit given, has a median of 101 m; data/valleys.yaml expects 0.5 to 50 m",
    ):
        import_set(project, "valleys", source, track=False)
    own.write_text(own.read_text().replace("unit: dm", "unit: mm"))
    assert import_set(project, "valleys", source, track=False).lock["digest"] != before
    assert open_layout("valleys", project.root / "data/valleys").target("depth", "0001")[20, 0] == 1


def test_a_class_beyond_the_names_is_named_with_its_image(valleys: tuple[Project, Path]) -> None:
    project, source = valleys
    own = project.root / "data/valleys.yaml"
    own.write_text(own.read_text().replace("values: {10: 0, 20: 1, 30: 2, 31: 2}", "coding: zero"))
    with pytest.raises(UserError, match=r"image '0001': semseg has class 77, expected 0..2 and void"):
        import_set(project, "valleys", source, track=False)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("title: Valleys\n", "", "key 'title': required, and missing"),
        ("unit: cm", "unit: ell", r"line 10, key 'tasks.depth': `unit` is ell: expected m, dm"),
        ("unit: cm", "unit: 1/0", r"line 10, key 'tasks.depth': `unit` is 1/0: expected m, dm"),
        ("unit: cm", "unit: 1/0.00", r"line 10, key 'tasks.depth': `unit` is 1/0.00: expected m, dm"),
        ("unit: cm", "units: cm", r"line 12, key 'tasks.depth.units': unknown key; did you mean .unit.\?"),
        ("unit: cm", "offset: 1", "`offset` needs `unit`"),
        ("photos/{split}/{folder}/{id}.jpg", "photos/{id}.jpg", "without `lists` .* `images` needs {split}"),
        ("photos/{split}/{folder}/{id}.jpg", "photos/{split}/{id}.jpg", r"{folder} is the photograph's"),
        ("photos/{split}/{folder}/{id}.jpg", "../{split}/{id}.jpg", "line 3, key 'images.0': patterns are relative"),
        ("cover/{folder}/{id}.png", "cover/{city}/{id}.png", "unknown {city}"),
        ("cover/{folder}/{id}.png", "cover/{id}.tif", r"ends in none of .npy, .png, .mat"),
        ("cover/{folder}/{id}.png", "cover/all.png", r"has {id} in its last part"),
        ("31: 2", "31: 3", "`values` has class 3, and there are 3 `names`"),
        ("31: 2", "300: 2", "less than or equal to 255"),
        ("  edge:", "  bend:", r"line 14, key 'tasks.bend': a map with its own name needs a `kind`.*edge"),
        ("kind: regression", "kind: regresion", r"'tasks.slope': unknown `kind: regresion`; .* mean 'regression'"),
        ("kind: regression", "kind: depth\n    scale: 2", r"line 18, key 'tasks.slope.scale': unknown key .*unit"),
        ("  slope:", "  size:", "key 'tasks': 'size' stands for something else in tables and files"),
        ("  edge:", "  edge:\n    kind: sal", "key 'tasks': edge is a standard task, and not of the kind sal"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_file_line_and_key(root: Path, tmp_path: Path, old: str, new: str, words: str) -> None:
    description, _ = documented(root)
    assert old in description
    path = tmp_path / "valleys.yaml"
    path.write_text(description.replace(old, new))
    with pytest.raises(UserError, match=words) as error:
        read_description(path)
    assert str(path) in str(error.value)


def test_an_unknown_layout_is_named_at_the_benchmark(project: Project) -> None:
    project = write(project, "own", benchmark(layout="kitti"))
    with pytest.raises(UserError, match=r"own.yaml, line \d+, key 'layout': unknown layout 'kitti': .*data/kitti.yaml"):
        project.benchmark("own")


def test_names_of_mtcp_s_layouts_are_taken(project: Project) -> None:
    (project.root / "data").mkdir()
    (project.root / "data/nyud.yaml").write_text("title: mine")
    with pytest.raises(UserError, match="'nyud' is a layout that comes with mtcp"):
        project.benchmark("nyud")


def test_lists_and_several_patterns(tmp_path: Path) -> None:
    described = validated(
        Description,
        {
            "title": "x", "images": "i/{id}.*", "lists": "l/{split}.txt", "splits": {"val": "dev"},
            "tasks": {"semseg": {"files": ["a/{id}.png", "b/{id}.png"], "coding": "one"}, "sal": {"files": "s/{id}.*"}},
        },
        "a test",
    )  # fmt: skip
    (tmp_path / "layout.yaml").write_text(yaml.safe_dump(described.model_dump(mode="json")))
    (tmp_path / "l").mkdir()
    (tmp_path / "l/dev.txt").write_text("1\n2\n")
    for place in ("i/1.PNG", "i/2.jpg", "b/1.png", "b/2.png", "a/2.png"):
        png(tmp_path / place, np.full((4, 4), 3 if place[0] == "a" else 1, np.uint8))
    np.save(tmp_path / "i/x", 0)
    (tmp_path / "s").mkdir()
    np.save(tmp_path / "s/1.npy", np.full((4, 4), 200))
    layout = layout_in("own", tmp_path)
    assert layout.ids("val") == ("1", "2")
    assert layout.image_path("1").name == "1.PNG"
    assert layout.target("semseg", "1").max() == 0 and layout.target("semseg", "2").max() == 2, (
        "the first that is there"
    )
    assert layout.expected("semseg", "3") == tmp_path / "a/3.png"


def test_maps_under_names_of_their_own_are_read_like_their_kind(project: Project, tmp_path: Path) -> None:
    """Codings, units and directions are those of each map's own entry, and are found out map by map."""
    (project.root / "data").mkdir()
    tasks = {
        "semseg": {"files": "a/{id}.png", "coding": "one"},
        "trees": {"kind": "semseg", "files": "b/{id}.png", "values": {9: 0, 4: 1}, "names": ["oak", "ash"]},
        "range": {"kind": "depth", "files": "c/{id}.png", "unit": "dm", "median": [1, 9]},
        "wet": {"kind": "sal", "files": "d/{id}.png"},
        "facing": {"kind": "normals", "files": "e/{id}.npy"},
    }
    described = {"title": "Wood", "images": "photos/{split}/{id}.png", "tasks": tasks}
    (project.root / "data/wood.yaml").write_text(yaml.safe_dump(described))
    own = {name: {"kind": tasks[name]["kind"]} for name in ("range", "wet", "facing")}
    project = write(project, "wood", benchmark(layout="wood", tasks={**own, "trees": {"kind": "semseg", "classes": 2}}))
    folder, here = tmp_path / "wood", np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    for number, split in enumerate(("train", "val")):
        png(folder / f"photos/{split}/{number}.png", np.full((HEIGHT, WIDTH, 3), 90 + number, np.uint8))
        png(folder / f"a/{number}.png", (here % 4).astype(np.uint8))
        png(folder / f"b/{number}.png", np.where(here % 2, 9, np.where(here, 4, 7)).astype(np.uint8))
        png(folder / f"c/{number}.png", np.where(here, here % 50 + 20, 0).astype(np.uint16))
        png(folder / f"d/{number}.png", (here % 2).astype(np.uint8))
        (folder / "e").mkdir(exist_ok=True)
        np.save(folder / f"e/{number}.npy", np.tile(np.float32([0.6, 0, 0.8]), (HEIGHT, WIDTH, 1)))
    import_set(project, "wood", folder, track=False)
    layout = open_set(project, "wood")
    assert layout.target("semseg", "0")[0, :5].tolist() == [255, 0, 1, 2, 255]
    assert layout.target("trees", "0")[0, :4].tolist() == [255, 0, 1, 0]
    assert layout.target("range", "0")[0, :3] == pytest.approx([255, 2.1, 2.2])
    assert layout.target("wet", "0")[0, :4].tolist() == [0, 1, 0, 1], "a mask of 0 and 1 was found out"
    assert layout.target("facing", "0")[0, 0] == pytest.approx([0.6, 0, -0.8]), "z to the viewer was found out"
    assert layout.packaging["trees"] == {"names": ["oak", "ash"]}
    png(folder / "c/0.png", (here + 1000).astype(np.uint16))
    png(folder / "c/1.png", (here + 1000).astype(np.uint16))
    np.save(folder / "e/1.npy", np.full((HEIGHT, WIDTH, 3), 7, np.float32))
    with pytest.raises(UserError, match=r"every range is above 100 m|range of the whole set.* correct `unit`") as bad:
        import_set(project, "wood", folder, track=False)
    assert "image '1': facing are no unit vectors" in str(bad.value)


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        (
            {"slope": {"kind": "depth"}},
            r"'tasks.slope.kind': depth here, and regression in .*data/valleys.yaml: let both",
        ),
        ({"slop": {"kind": "depth"}}, r"'tasks.slop': layout 'valleys' has no 'slop'; did you mean 'slope'\?"),
        ({"sal": {}}, r"'tasks.sal': layout 'valleys' has no 'sal'"),
        ({"semseg": {"classes": 8}}, r"'tasks.semseg.classes': 8 here but 3 in .*data/valleys.yaml: use the same"),
        ({"semseg": {"classes": 2}}, r"'tasks.semseg.classes': 2 here but 3 in .*data/valleys.yaml: use the same"),
        ({"slope": {"rope": 1}}, r"'tasks.slope.kind': required, and missing: 'slope' is not a standard task"),
    ],
)
def test_benchmark_and_description_agree(valleys: tuple[Project, Path], tasks: dict, words: str) -> None:
    project = write(valleys[0], "other", benchmark(layout="valleys", tasks=tasks))
    with pytest.raises(UserError, match=rf"other.yaml, line \d+, key {words}"):
        project.benchmark("other")


@pytest.mark.parametrize("old", ["    names: [water, meadow, wood]\n", "    values: {10: 0, 20: 1, 30: 2, 31: 2}\n"])
def test_classes_are_counted_by_their_names_or_else_by_their_values(valleys: tuple[Project, Path], old: str) -> None:
    project, own = valleys[0], valleys[0].root / "data/valleys.yaml"
    assert old in own.read_text()
    own.write_text(own.read_text().replace(old, ""))
    write(project, "right", benchmark(layout="valleys", tasks={"semseg": {"classes": 3}})).benchmark("right")
    wrong = write(project, "wrong", benchmark(layout="valleys", tasks={"semseg": {"classes": 4}}))
    with pytest.raises(UserError, match=r"key 'tasks.semseg.classes': 4 here but 3 in "):
        wrong.benchmark("wrong")


REGRESSION = {
    "title": "Fields",
    "images": "photos/{split}/{id}.png",
    "tasks": {"regression": {"files": "drop/{id}.*", "void": -9999, "scale": 0.5, "offset": -100}},
}


@pytest.fixture
def fields(project: Project, tmp_path: Path) -> tuple[Project, Path]:
    """A project and a set whose one target is a signed number a pixel."""
    (project.root / "data").mkdir()
    (project.root / "data/fields.yaml").write_text(yaml.safe_dump(REGRESSION))
    folder = tmp_path / "fields"
    for split, first in (("train", 1), ("val", 9)):
        for number in range(first, first + 8):
            draws = np.random.default_rng(number)
            stored = draws.integers(0, 400, (HEIGHT, WIDTH)).astype(np.int32)
            stored[0], stored[1] = -9999, 710
            png(folder / f"photos/{split}/{number}.png", draws.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8))
            (folder / "drop").mkdir(exist_ok=True)
            np.save(folder / f"drop/{number}.npy", stored)
    return project, folder


def test_signed_numbers_are_scaled_and_none_of_them_is_taken_for_void(fields: tuple[Project, Path]) -> None:
    project, source = fields
    done = import_set(project, "fields", source, track=False)
    assert done.findings.warnings == []
    target, stored = open_set(project, "fields").target("regression", "3"), np.load(source / "drop/3.npy")
    assert target.dtype == np.float32 and (target[0] == 255).all(), "void"
    assert (target[1] != 255).all() and np.allclose(target[1], 255, rtol=1e-6), "a true 255 is none"
    assert np.array_equal(target[2:], stored[2:] * np.float32(0.5) - 100) and (target[2:] < 0).any()


def test_one_value_everywhere_is_doubted(fields: tuple[Project, Path]) -> None:
    project, source = fields
    for path in (source / "drop").iterdir():
        np.save(path, np.full((HEIGHT, WIDTH), 7))
    with pytest.raises(UserError, match=r"regression is -96.5 at every known pixel .*--accept regression"):
        import_set(project, "fields", source, track=False)


def test_what_is_practically_equal_must_be_said_of_a_unit_of_ones_own(fields: tuple[Project, Path]) -> None:
    project = write(fields[0], "fields", benchmark(layout="fields", tasks={"regression": {}}))
    with pytest.raises(UserError, match=r"key 'tasks.regression.rope': required, and missing"):
        project.benchmark("fields")


@pytest.mark.slow
def test_signed_numbers_from_their_files_to_a_table_and_a_prediction(fields: tuple[Project, Path]) -> None:
    project, source = fields
    own = benchmark(layout="fields", tasks={"regression": {"rope": 1.0}}, baseline="trivial_prior", reference="mtcp")
    project = write(project, "fields", own)
    methods = project.root / "config/methods.yaml"
    trivial = "trivial_prior: {label: Prior, family: trivial, architecture: {name: trivial_prior}}\n"
    methods.write_text(methods.read_text() + trivial)
    (project.root / "params.yaml").write_text("benchmarks: [fields]\nmethods: [trivial_prior, mtcp]\nseeds: [0]\n")
    mtcp(project, "data", "import", "fields", str(source), "--no-dvc")
    for method in ("trivial_prior", "mtcp"):
        mtcp(project, "train", "fields", method, "--seed", "0")
        mtcp(project, "evaluate", "fields", method, "--seed", "0")
    mtcp(project, "tables", "fields")
    runs = pd.read_csv(project.root / "results/tables/fields/runs.csv")
    found = runs[(runs.task == "regression") & (runs.metric == "rmse") & (runs.selection == "last")]
    errors = found[found.output == "final"].set_index("method").value
    assert errors.between(50, 200).all() and len(errors) == 2, "in the set's unit; the truth spreads by 58 and 255"
    mtcp(project, "report", "fields")
    assert "Regression" in (project.root / "reports/fields.html").read_text()
    mtcp(project, "predict", "fields/mtcp/seed0", str(source / "photos/val/9.png"), "--output", "seen")
    assert np.load(project.root / "seen/9-regression.npy").shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("kind", layout_names())
def test_every_layout_reaches_the_workers_of_an_import(kind, tmp_path):
    layout = layout_in(kind, tmp_path)
    assert pickle.loads(pickle.dumps(layout)).places == layout.places
