"""Prediction sheets: every task drawn, void grey, broken predictions drawn, equal bits for equal input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtcp.core.tasks import KINDS, VOID, make_task
from mtcp.data.formats.class_names import class_names
from mtcp.evaluation.pictures import class_colours
from mtcp.evaluation.prediction_sheets import Sample, sheet, write_sheets

TASKS = tuple(make_task(name, classes=40 if name == "semseg" else None) for name in KINDS)
SIZE = (12, 16)


def sample(image_id: str = "0001", broken: bool = False) -> Sample:
    rng = np.random.default_rng(0)
    truths = {
        "semseg": rng.integers(0, 40, SIZE),
        "human_parts": rng.integers(0, 7, SIZE),
        "depth": rng.uniform(1, 5, (1, *SIZE)).astype(np.float32),
        "sal": rng.integers(0, 2, (1, *SIZE)).astype(np.float32),
        "normals": np.tile(np.array([0, 0, -1], np.float32)[:, None, None], (1, *SIZE)),
        "edge": rng.integers(0, 2, (1, *SIZE)).astype(np.float32),
        "regression": rng.normal(size=(1, *SIZE)).astype(np.float32),
    }
    for truth in truths.values():
        truth[..., :3, :] = VOID
    predictions = {task.name: rng.normal(size=(task.channels, *SIZE)).astype(np.float32) for task in TASKS}
    if broken:
        for prediction in predictions.values():
            prediction[:, 5] = np.nan
            prediction[:, 6] = np.inf
    return Sample(image_id, rng.normal(size=(3, *SIZE)).astype(np.float32), truths, predictions)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("broken", [False, True])
def test_a_sheet_shows_every_task(broken):
    picture = sheet(sample(broken=broken), TASKS, {})
    alone = sheet(sample(broken=broken), TASKS[:1], {})
    assert picture.height > alone.height > 2 * 165
    assert len(picture.getcolors(1 << 24)) > 200


def test_void_is_grey_in_truth_and_error():
    depth = [task for task in TASKS if task.name == "depth"]
    pixels = np.asarray(sheet(sample(), depth, {}))
    grey = (pixels == 128).all(axis=2)
    # A quarter of the truth and of the error, 220 x 165 pixels each; nothing of the prediction.
    assert grey.sum() == pytest.approx(2 * 220 * 165 / 4, rel=0.03)


def test_sheets_are_named_reproducible_and_replace_older_ones(tmp_path: Path):
    write_sheets(tmp_path, [sample("a/b"), sample("c")], TASKS, {"semseg": ["wall"]})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00-a_b.png", "01-c.png"]
    first = (tmp_path / "01-c.png").read_bytes()
    write_sheets(tmp_path, [sample("c")], TASKS, {"semseg": ["wall"]})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00-c.png"]
    assert (tmp_path / "00-c.png").read_bytes() == first
    write_sheets(tmp_path, [sample("a"), sample("c")], TASKS, {"semseg": ["wall"]})
    assert (tmp_path / "01-c.png").read_bytes() == first


def test_an_all_void_sample_can_be_drawn():
    given = sample()
    for truth in given.truths.values():
        truth[:] = VOID
    assert sheet(given, TASKS, {}).width > 600


def test_a_task_under_a_name_of_its_own_is_drawn_like_its_kind_with_its_label_and_unit():
    given = sample()
    (field,) = (task for task in TASKS if task.name == "regression")
    moved = Sample(
        given.image_id, given.image,
        {"height": given.truths["regression"]}, {"height": given.predictions["regression"]},
    )  # fmt: skip
    own = make_task("height", kind="regression", label="Regression")
    assert sheet(moved, [own], {}).tobytes() == sheet(given, [field], {}).tobytes()
    for change in ({"unit": "cm"}, {"label": "Height"}):
        assert sheet(moved, [replace(own, **change)], {}).tobytes() != sheet(moved, [own], {}).tobytes()


def test_classes_have_the_names_recorded_with_the_data_or_the_data_sets_own():
    def names(layout: str, count: int, **packaging: object) -> dict:
        tasks = (make_task("semseg", classes=count), make_task("trees", kind="semseg", classes=2), make_task("depth"))
        return class_names(layout, tasks, packaging)

    assert names("nyud", 2, classes=["wall", "bed"]) == {"semseg": ["wall", "bed"], "trees": ()}
    assert names("nyud", 13, classes=["wall", "bed"])["semseg"] == (), "no name for the other classes"
    assert names("nyud", 13, trees={"names": ["oak", "ash"]})["trees"] == ["oak", "ash"]
    assert (names("nyud", 40)["semseg"][21], names("pascal", 21)["semseg"][15]) == ("ceiling", "person")
    assert [len(names(*key)["semseg"]) for key in (("nyud", 40), ("pascal", 21), ("nyud", 41))] == [40, 21, 0]


def test_class_colours_are_distinct():
    colours = class_colours(40).astype(int)
    distance = np.abs(colours[:, None] - colours[None]).sum(axis=2)
    assert distance[~np.eye(40, dtype=bool)].min() > 40
