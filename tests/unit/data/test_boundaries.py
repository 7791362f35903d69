"""Derived edges: across borders of void, whole after resizing, one bit a pixel, and "derived" wherever they go."""

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import label

from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.data.formats import packaging
from mtcp.data.formats.opening import open_layout
from mtcp.data.loading.batches import resize
from mtcp.data.preparation import sets
from mtcp.data.preparation.boundaries import boundaries, closed
from mtcp.data.preparation.derive import edges_from_labels
from mtcp.data.preparation.importing import import_set

VOID = 255


def pieces(edges: np.ndarray) -> int:
    """Connected pieces of boundary (8 neighbours)."""
    return label(edges == 1, np.ones((3, 3)))[1]


def test_labels_meet_in_the_middle_of_a_border_of_void():
    labels = np.zeros((20, 200), np.uint8)
    labels[:, 100:] = 7
    labels[:, 97:101] = VOID  # as VOC draws it: four pixels of void around the object
    assert not (edges_from_labels(labels) == 1).any()
    edges = boundaries(labels)
    assert edges.sum() == 20 and edges[:, 98].all()


def test_a_label_grows_into_void_by_the_same_reach_on_all_sides():
    labels = np.full((64, 64), VOID, np.uint8)
    labels[30, 20] = 5
    grown = np.argwhere(closed(labels) == 5).tolist()
    assert grown == [[29, 20], [30, 19], [30, 20], [30, 21], [31, 20]]


def test_nothing_is_made_up_inside_a_large_unknown_region():
    labels = np.full((64, 128), 3, np.uint8)
    labels[20:50, 30:90] = VOID
    assert (closed(labels)[30:40, 45:75] == VOID).all() and not boundaries(labels).any()
    assert not boundaries(np.full((16, 16), VOID, np.uint8)).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 10_000))
def test_without_void_they_are_the_boundaries_of_the_labels(height: int, width: int, seed: int):
    labels = np.random.default_rng(seed).integers(0, 3, (height, width)).astype(np.uint8)
    np.testing.assert_array_equal(boundaries(labels), edges_from_labels(labels) == 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 60), st.integers(8, 60), st.integers(8, 60), st.integers(8, 60), st.integers(0, 10_000))
def test_resizing_tears_no_line(height: int, width: int, new_height: int, new_width: int, seed: int):
    """One connected random walk stays one piece at any size, and no edge pixel disappears."""
    draw = np.random.default_rng(seed)
    edges = np.zeros((height, width), np.uint8)
    row, column = height // 2, width // 2
    for _ in range(60):
        edges[row, column] = 1
        row = int(np.clip(row + draw.integers(-1, 2), 0, height - 1))
        column = int(np.clip(column + draw.integers(-1, 2), 0, width - 1))
    smaller = resize("edge", edges, new_height, new_width)
    assert smaller.shape == (new_height, new_width) and pieces(smaller) == 1
    rows, columns = np.nonzero(edges)
    if new_height <= height and new_width <= width:
        expected = np.zeros_like(smaller)
        expected[(2 * rows + 1) * new_height // (2 * height), (2 * columns + 1) * new_width // (2 * width)] = 1
        np.testing.assert_array_equal(smaller, expected)


def test_void_stays_void_where_no_edge_is():
    edges = np.zeros((40, 40), np.uint8)
    edges[:, :20] = VOID
    edges[:, 10] = 1
    smaller = resize("edge", edges, 10, 10)
    assert (smaller[:, 2] == 1).all() and (smaller[:, [0, 1, 3, 4]] == VOID).all() and (smaller[:, 5:] == 0).all()


def test_they_are_stored_by_the_bit_and_stay_derived(project: Project, nyud: Path, tmp_path: Path):
    """Through export (an archive of the imported folder, with or without its packaging.json) and import."""
    shutil.rmtree(nyud / "normals")
    shutil.rmtree(nyud / "edge")
    first = import_set(project, "nyud", nyud, track=False)
    said = {"normals": "depth, local plane fits", "edge": "semseg, label boundaries"}
    assert first.lock["derived"] == said
    assert Image.open(first.folder / "edge_derived/0001.png").mode == "1"
    before = open_layout("nyud", first.folder).target("edge", "0001")
    assert set(np.unique(before)) == {0, 1}
    with tarfile.open(tmp_path / "again.tgz", "w:gz") as archive:
        archive.add(first.folder, "nyud")
    again = import_set(project, "nyud", tmp_path / "again.tgz", track=False)
    assert again.lock["derived"] == said and again.lock["digest"] == first.lock["digest"]
    assert packaging.read(again.folder) == packaging.read(first.folder)
    np.testing.assert_array_equal(open_layout("nyud", again.folder).target("edge", "0001"), before)
    bare = Path(shutil.copytree(again.folder, tmp_path / "bare"))
    (bare / "packaging.json").unlink()
    assert import_set(project, "nyud", bare, track=False).lock["derived"] == {
        task: f"{task}_derived/, how is not recorded" for task in ("normals", "edge")
    }


def test_a_task_that_no_image_has_is_refused_once(project: Project, nyud: Path):
    shutil.rmtree(nyud / "segmentation")
    shutil.rmtree(nyud / "edge")
    import_set(project, "nyud", nyud, track=False)
    with pytest.raises(UserError, match=r"no image of data/nyud has edge, semseg: take it out of the tasks in config"):
        sets.require_tasks(project, "nyud")
    path = project.root / "config/benchmarks/nyud.yaml"
    content = yaml.safe_load(path.read_text())
    content["tasks"] = {"depth": {}, "normals": {}}
    path.write_text(yaml.safe_dump(content))
    sets.require_tasks(Project(project.root), "nyud")


@pytest.mark.realdata
def test_voc_s_borders_hide_no_edges(real_data: Path):
    """Both kinds of masks of PASCAL have about as many edges: 6.5 an image without closing the borders, then 939."""
    layout = open_layout("pascal", real_data / "pascal_people_256")
    counts: dict[bool, list[int]] = {True: [], False: []}
    for image_id in layout.ids("train")[::5]:
        labels = layout.target("semseg", image_id)
        counts[bool((labels == VOID).any())].append(int(boundaries(labels).sum()))
    assert 0.8 < np.mean(counts[True]) / np.mean(counts[False]) < 1.25


@pytest.mark.realdata
def test_real_boundaries_stay_whole_at_training_size(real_data: Path):
    layout = open_layout("pascal", real_data / "pascal_people_256")
    before = after = 0
    for image_id in layout.ids("train")[::40]:
        edges = boundaries(layout.target("semseg", image_id)).astype(np.uint8)
        before, after = before + pieces(edges), after + pieces(resize("edge", edges, 96, 128))
    assert after <= before
