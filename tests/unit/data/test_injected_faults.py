"""Data faults put into a sound set, one a row: what was done, which words tell it. Nothing wrong is ever imported."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtcp.core.config import Project
from mtcp.core.errors import UserError
from mtcp.core.files import read_json
from mtcp.data.formats.opening import open_layout
from mtcp.data.preparation import sets
from mtcp.data.preparation.importing import Told, import_set
from mtcp.data.rendering.render import render_set, settings_of

FRAMES = {"train": 24, "test": 8}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sound sets of 32 scenes in both layouts, at 48x64, with what import has to find out by itself left out."""
    folders = {}
    for kind, preset in (("nyud", "rooms"), ("pascal", "people")):
        folder = tmp_path_factory.mktemp(kind)
        render_set(
            settings_of({"preset": preset, **FRAMES}, preset), 48, 64, folder, inputs="", progress=lambda k: None
        )
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


@dataclass(frozen=True)
class Row:
    """What was done to which layout, the words that must be said, and the switches that make it right, if any."""

    done: str
    kind: str
    spoil: Callable[[Path], None]
    words: str
    cure: Told | None = None


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
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.done)
def test_a_fault_is_named_and_nothing_is_imported(project: Project, sound: Callable, row: Row):
    folder = sound(row.kind)
    row.spoil(folder)
    with pytest.raises(UserError, match=row.words):
        import_set(project, row.kind, folder, track=False)
    assert not (project.root / f"data/{row.kind}").exists()
    assert not (project.root / f"data/{row.kind}.lock.json").exists()


@pytest.mark.parametrize("row", [row for row in ROWS if row.cure], ids=lambda row: row.done)
def test_what_the_user_tells_makes_it_right(project: Project, sound: Callable, row: Row):
    """The same numbers as from the sound set, and the lock records what was told."""
    folder = sound(row.kind)
    before = open_layout(row.kind, folder)
    expected = {task: before.target(task, "0001") for task in ("semseg", "depth") if before.find(task, "0001")}
    row.spoil(folder)
    done = import_set(project, row.kind, folder, track=False, told=row.cure)
    for entry, value in row.cure.packaging().items():
        assert done.lock[entry] == value
    layout = sets.open_set(project, row.kind)
    for task, values in expected.items():
        np.testing.assert_allclose(layout.target(task, "0001"), values, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("kind", ["nyud", "pascal"])
def test_a_sound_set_raises_no_doubt(project: Project, sound: Callable, kind: str):
    done = import_set(project, kind, sound(kind), track=False)
    assert all("the field's has" in warning for warning in done.findings.warnings), done.findings.warnings


def test_what_is_meant_can_be_accepted_and_stays_a_warning(project: Project, sound: Callable):
    folder = sound("nyud")
    scaled(5)(folder)
    done = import_set(project, "nyud", folder, track=False, told=Told(accept=("depth",)))
    assert read_json(project.root / "data/nyud.lock.json")["accepted"] == ["depth"]
    assert any("stored in another unit" in warning for warning in done.findings.warnings)


@pytest.mark.parametrize("unit", ["miles", "1/0", "-1", "1/x", ""])
def test_a_unit_that_is_none(unit: str):
    with pytest.raises(UserError, match="expected m, dm, cm, mm, a fraction"):
        Told(depth_unit=unit)
