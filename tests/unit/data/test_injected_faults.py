"""Data faults put into a sound set, one a row: what was done, which words tell it. Nothing wrong is ever imported."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from mtcp.core.errors import UserError
from mtcp.core.files import read_json
from mtcp.core.project import Project
from mtcp.core.rendered import RenderSettings
from mtcp.data.formats.label_codings import palette
from mtcp.data.formats.opening import open_layout
from mtcp.data.preparation import sets
from mtcp.data.preparation.checking import check_set
from mtcp.data.preparation.codings import Told
from mtcp.data.preparation.importing import import_set
from mtcp.data.rendering.render import render_set

pytestmark = pytest.mark.slow

FRAMES = {"train": 24, "test": 8}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sound sets of 32 scenes in both layouts, at 48x64, with what import has to find out by itself left out."""
    folders = {}
    for kind, preset in (("nyud", "rooms"), ("pascal", "people")):
        folder = tmp_path_factory.mktemp(kind)
        render_set(RenderSettings(preset=preset, **FRAMES), 48, 64, folder, inputs="", progress=lambda k: None)
        (folder / "packaging.json").unlink()
        folders[kind] = folder
    return folders


@pytest.fixture
def sound(rendered: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a sound set, to be spoilt."""
    return lambda kind: Path(shutil.copytree(rendered[kind], tmp_path / f"sound-{kind}"))


def each_depth(folder: Path) -> Iterator[tuple[Path, np.ndarray]]:
    for path in sorted((folder / "depth").iterdir()):
        yield path, np.load(path)


def scaled(factor: float) -> Callable[[Path], None]:
    """Depth as floating point, in another unit."""

    def spoil(folder: Path) -> None:
        for path, depth in each_depth(folder):
            np.save(path, depth * np.float32(factor))

    return spoil


def whole(steps: float, swap: bool = False) -> Callable[[Path], None]:
    """Depth as 16-bit pictures with so many steps per metre."""

    def spoil(folder: Path) -> None:
        for path, depth in each_depth(folder):
            path.unlink()
            values = np.minimum(np.rint(depth * steps), 65_535).astype(np.uint16)
            Image.fromarray(values.byteswap() if swap else values).save(path.with_suffix(".png"))

    return spoil


def inverse(folder: Path) -> None:
    for path, depth in each_depth(folder):
        np.save(path, np.where(depth > 0, 1 / np.maximum(depth, 1e-3), 0).astype(np.float32))


def each_label(folder: Path, place: str = "segmentation") -> Iterator[tuple[Path, np.ndarray]]:
    for path in sorted((folder / place).iterdir()):
        yield path, np.asarray(Image.open(path))


def labels(change: Callable[[np.ndarray], np.ndarray], place: str = "segmentation") -> Callable[[Path], None]:
    """Label pictures through a function of their values."""

    def spoil(folder: Path) -> None:
        for path, values in each_label(folder, place):
            Image.fromarray(change(values)).save(path)

    return spoil


def with_void(values: np.ndarray) -> np.ndarray:
    """A corner of void, as every real map has somewhere."""
    values = values.copy()
    values[:4, :6] = 0
    return values


def coloured(values: np.ndarray) -> np.ndarray:
    return palette()[values]


def off_by_one(place: str) -> Callable[[Path], None]:
    """Every file of a folder gets the content of the next one."""

    def spoil(folder: Path) -> None:
        paths = sorted((folder / place).iterdir())
        contents = [path.read_bytes() for path in paths]
        for path, content in zip(paths, contents[1:] + contents[:1], strict=True):
            path.write_bytes(content)

    return spoil


def arrays(place: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Arrays of a folder through a function."""

    def spoil(folder: Path) -> None:
        for path in sorted((folder / place).iterdir()):
            np.save(path, np.ascontiguousarray(change(np.load(path))))

    return spoil


def mask_as(form: str) -> Callable[[Path], None]:
    """Saliency as 0 and 1: a grey picture, one with a palette, or one bit a pixel."""

    def spoil(folder: Path) -> None:
        for path, values in each_label(folder, "sal_distill"):
            picture = Image.fromarray((values > 127).astype(np.uint8))
            if form == "palette":
                picture.putpalette([0, 0, 0, 128, 0, 0])
            (Image.fromarray(values > 127) if form == "bit" else picture).save(path)

    return spoil


@dataclass(frozen=True)
class Row:
    """What was done to which layout, the words that must be said, and the switches that make it right, if any.

    `classes` is what the benchmark declares; without words the set must be read right without being told.
    """

    done: str
    kind: str
    spoil: Callable[[Path], None]
    words: str = ""
    cure: Told | None = None
    classes: int | None = None


ROWS = [
    Row("depth, floats x5", "nyud", scaled(5), r"median of 1\d\.?\d* m.*likely 1/5", Told("1/5")),
    Row("depth, floats x6", "nyud", scaled(6), "likely 1/6", Told("1/6")),
    Row("depth, floats in dm", "nyud", scaled(10), "likely dm", Told("dm")),
    Row("depth, floats in cm", "nyud", scaled(100), "likely cm", Told("cm")),
    Row("depth, floats in mm", "nyud", scaled(1000), "likely mm", Told("mm")),
    Row("depth, floats in tens of metres", "nyud", scaled(0.1), "likely 1/0.1", Told("1/0.1")),
    Row("depth, floats in km", "nyud", scaled(0.001), "likely 1/0.001", Told("1/0.001")),
    Row("depth, inverse", "nyud", inverse, "likely inverse", Told("inverse")),
    Row("depth, integers, 5000 to a metre", "nyud", whole(5000), "read as millimetres.*1/5000", Told("1/5000")),
    Row("depth, integers, 65535 over 10 m", "nyud", whole(6553.5), "likely 1/6553.5", Told("1/6553.5")),
    Row("depth, integers, 256 to a metre", "nyud", whole(256), "likely 1/256", Told("1/256")),
    Row("depth, integers in cm", "nyud", whole(100), "likely cm", Told("cm")),
    Row("depth, integers in 0.1 m", "nyud", whole(10), "likely dm", Told("dm")),
    Row("depth, integers in mm, bytes swapped", "nyud", whole(1000, swap=True), "bytes of each value are swapped"),
    Row(
        "labels, 0..12 and void 255",
        "nyud",
        labels(lambda values: with_void(values) - np.uint8(1)),
        "numbered from 0; say --label-coding zero",
        Told(label_coding="zero"),
    ),
    Row(
        "labels, 0..12 without void",
        "nyud",
        labels(lambda values: values - np.uint8(1)),
        "class 13 of 13 is in no image.*--label-coding zero",
        Told(label_coding="zero"),
    ),
    Row(
        "labels, 0..13 and void 255",
        "nyud",
        labels(lambda v: np.where(np.arange(64) < 3, 255, v).astype(np.uint8)),
        "0 is read as void, in 41-way maps it is a class",
    ),
    Row("labels, 13-class maps read as 40", "nyud", labels(np.copy), "13 classes, 40 are declared", classes=40),
    Row("labels, more classes than declared", "nyud", labels(np.copy), "class 12 .* 5 classes are declared", classes=5),
    Row(
        "labels, 41-way maps",
        "nyud",
        labels(lambda values: np.where(values == 13, 41, values).astype(np.uint8)),
        "41-way labels: .*class 40",
        classes=40,
    ),
    Row("labels, VOC's colours", "nyud", labels(coloured), "--label-coding colours", Told(label_coding="colours")),
    Row(
        "labels, VOC's colours (pascal)",
        "pascal",
        labels(coloured, "semseg/VOC12"),
        "--label-coding colours",
        Told(label_coding="colours"),
    ),
    Row("labels, one value everywhere", "nyud", labels(np.ones_like), "one class only in all images"),
    Row(
        "labels, mostly void",
        "nyud",
        labels(lambda v: np.where(np.arange(48)[:, None] < 36, 0, v).astype(np.uint8)),
        "75% of the label pixels are void",
    ),
    Row(
        "labels, pascal from 1",
        "pascal",
        labels(lambda values: values + np.uint8(1), "semseg/VOC12"),
        "--label-coding one",
        Told(label_coding="one"),
    ),
    Row("parts, empty", "pascal", labels(np.zeros_like, "human_parts"), "no body part in any image"),
    Row(
        "parts, masks of persons",
        "pascal",
        labels(lambda values: (values > 0).astype(np.uint8), "human_parts"),
        "one part only",
    ),
    Row("saliency, empty", "pascal", labels(np.zeros_like, "sal_distill"), "sal is 0 at every known pixel"),
    Row("edges, empty", "nyud", arrays("edge", np.zeros_like), "edge is 0 at every known pixel"),
    Row("saliency, grey 0 and 1", "pascal", mask_as("grey")),
    Row("saliency, palette of two", "pascal", mask_as("palette")),
    Row("saliency, one bit a pixel", "pascal", mask_as("bit")),
    Row("edges, arrays of 0 and 255", "nyud", arrays("edge", lambda values: values * np.uint8(255))),
    Row("edges, booleans", "nyud", arrays("edge", lambda values: values > 0)),
    Row("normals, z to the viewer", "nyud", arrays("normals", lambda values: values * np.float16([1, 1, -1]))),
    Row(
        "labels one frame off",
        "nyud",
        off_by_one("segmentation"),
        "semseg does not match depth and the photographs: its",
    ),
    Row("depth one frame off", "nyud", off_by_one("depth"), "depth does not match semseg and the photographs"),
    Row(
        "photographs one frame off",
        "nyud",
        off_by_one("images"),
        "the photographs do not match depth and semseg",
    ),
    Row("normals one frame off", "nyud", off_by_one("normals"), "normals do not match depth"),
    Row(
        "labels one frame off (pascal)",
        "pascal",
        off_by_one("semseg/VOC12"),
        "with those of the photographs only",
    ),
    Row("photographs one frame off (pascal)", "pascal", off_by_one("JPEGImages"), "the photographs do not match"),
    Row("parts one frame off", "pascal", off_by_one("human_parts"), "human_parts does not match the photographs"),
    Row("saliency one frame off", "pascal", off_by_one("sal_distill"), "sal does not match the photographs"),
    Row("labels mirrored", "nyud", labels(np.fliplr), "looks mirrored"),
    Row("labels upside down", "nyud", labels(np.flipud), "looks upside down"),
    Row("labels turned", "nyud", labels(lambda values: np.rot90(values, 2)), "looks turned by 180 degrees"),
    Row("depth mirrored", "nyud", arrays("depth", np.fliplr), "looks mirrored"),
    Row("labels mirrored (pascal)", "pascal", labels(np.fliplr, "semseg/VOC12"), "semseg looks mirrored"),
    Row("normals in BGR", "nyud", arrays("normals", lambda values: values[..., ::-1]), r"channels are z, y, x .*\(BGR"),
    Row("normals, x and y swapped", "nyud", arrays("normals", lambda values: values[..., [1, 0, 2]]), "are y, x, z"),
    Row("normals, x flipped", "nyud", arrays("normals", lambda v: v * np.float16([-1, 1, 1])), "in x .expected right"),
    Row("normals, y flipped", "nyud", arrays("normals", lambda v: v * np.float16([1, -1, 1])), "in y .expected down"),
    Row("normals, x and y flipped", "nyud", arrays("normals", lambda v: v * np.float16([-1, -1, 1])), "in x .* and y"),
    Row(
        "normals in BGR (pascal)",
        "pascal",
        labels(lambda values: np.ascontiguousarray(values[..., ::-1]), "normals_distill"),
        "BGR order",
    ),
]


def declare(project: Project, kind: str, classes: int | None) -> Project:
    """The project, its benchmark with as many classes as the sound set has, or `classes`."""
    path = project.root / f"config/benchmarks/{kind}.yaml"
    content = yaml.safe_load(path.read_text())
    content["tasks"]["semseg"]["classes"] = classes or {"nyud": 13, "pascal": 9}[kind]
    path.write_text(yaml.safe_dump(content))
    return Project(project.root)


@pytest.mark.parametrize("row", [row for row in ROWS if row.words], ids=lambda row: row.done)
def test_a_fault_is_named_and_nothing_is_imported(project: Project, sound: Callable, row: Row):
    project = declare(project, row.kind, row.classes)
    folder = sound(row.kind)
    row.spoil(folder)
    with pytest.raises(UserError, match=row.words):
        import_set(project, row.kind, folder, track=False)
    assert not (project.root / f"data/{row.kind}").exists()
    assert not (project.root / f"data/{row.kind}.lock.json").exists()


@pytest.mark.parametrize("row", [row for row in ROWS if row.cure or not row.words], ids=lambda row: row.done)
def test_told_or_found_out_the_numbers_are_those_of_the_sound_set(project: Project, sound: Callable, row: Row):
    """And the lock records what was told."""
    project = declare(project, row.kind, row.classes)
    folder, told = sound(row.kind), row.cure or Told()
    before = open_layout(row.kind, folder)
    expected = {task: before.target(task, "0001") for task in before.places if before.find(task, "0001")}
    row.spoil(folder)
    done = import_set(project, row.kind, folder, track=False, told=told)
    for entry, value in told.packaging().items():
        assert done.lock[entry] == value
    layout = sets.open_set(project, row.kind)
    for task, values in expected.items():
        found = layout.target(task, "0001")
        if task == "semseg":
            found = np.where(found == 255, values, found)  # the corner of void
        np.testing.assert_allclose(found, values, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("kind", ["nyud", "pascal"])
def test_a_sound_set_raises_no_doubt(project: Project, sound: Callable, kind: str):
    done = import_set(declare(project, kind, None), kind, sound(kind), track=False)
    assert all("the field's has" in warning for warning in done.findings.warnings), done.findings.warnings


def test_what_is_meant_can_be_accepted_and_stays_a_warning(project: Project, sound: Callable):
    folder, project = sound("nyud"), declare(project, "nyud", None)
    scaled(5)(folder)
    done = import_set(project, "nyud", folder, track=False, told=Told(accept=("depth",)))
    assert read_json(project.root / "data/nyud.lock.json")["accepted"] == ["depth"]
    assert any("probably another unit" in warning for warning in done.findings.warnings)


@pytest.mark.parametrize("unit", ["miles", "1/0", "-1", "1/x", ""])
def test_a_unit_that_is_none(unit: str):
    with pytest.raises(UserError, match="expected m, dm, cm, mm, a fraction"):
        Told(depth_unit=unit)


def some_real(source: Path, target: Path, places: dict[str, str], shifted: str) -> Path:
    """48 real frames of one size as links, one folder of which holds the next frame's files."""
    folder, ending = next(iter(places.items()))
    paths = sorted((source / folder).glob(f"*{ending}"))
    size = Image.open(paths[0]).size
    stems = [path.stem for path in paths[:: max(1, len(paths) // 300)] if Image.open(path).size == size][:48]
    for place, suffix in places.items():
        (target / place).mkdir(parents=True)
        for own, following in zip(stems, stems[1:] + stems[:1], strict=True):
            taken = following if place == shifted else own
            (target / place / f"{own}{suffix}").symlink_to(source / place / f"{taken}{suffix}")
    lists = target / ("gt_sets" if "images" in places else "ImageSets/Context")
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(stems[:40]))
    (lists / "val.txt").write_text("\n".join(stems[40:]))
    return target


REAL = {
    "nyud": ("nyud_v2_240x320", {"images": ".jpg", "segmentation": ".png", "depth": ".png"}),
    "pascal": ("pascal_people_256", {"JPEGImages": ".jpg", "semseg/VOC12": ".png", "human_parts_png": ".png"}),
}


@pytest.mark.realdata
@pytest.mark.parametrize(("kind", "shifted"), [(kind, place) for kind in REAL for place in ("", *REAL[kind][1])])
def test_real_photographs_are_told_from_those_of_the_next_frame(
    real_data: Path, tmp_path: Path, kind: str, shifted: str
):
    name, places = REAL[kind]
    found = check_set(open_layout(kind, some_real(real_data / name, tmp_path / "set", places, shifted)))
    doubts = [problem for problem in found.problems if "--accept pairing" in problem]
    assert bool(doubts) == bool(shifted), found.problems
    assert len(found.problems) == len(doubts)
