"""NYUv2 with 13 classes derived from frames in NYUD_MT's layout."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtcp.core.errors import UserError
from mtcp.core.files import read_json
from mtcp.core.project import Project
from mtcp.core.tasks import VOID
from mtcp.data.formats.opening import open_layout
from mtcp.data.preparation.importing import import_set
from mtcp.data.preparation.nyuv2_13 import MAP_40_TO_13, derive_nyuv2_13, nearest, part

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


def test_the_part_is_the_one_that_the_package_shows():
    frame = np.arange(240 * 320).reshape(240, 320)
    np.testing.assert_array_equal(part(frame), frame[26:233, 22:298])
    large = part(np.zeros((480, 640, 3)))
    assert large.shape == (414, 552, 3)
    assert nearest(large).shape == (288, 384, 3)


def test_a_set_is_derived_and_said_to_be(project: Project, nyud: Path):
    Image.fromarray(np.full((24, 32), 40, np.uint8)).save(nyud / "segmentation/0002.png")
    import_set(project, "nyud", nyud, track=False)
    done = derive_nyuv2_13(project, "nyud")
    assert done.folder.name == "nyuv2_13_derived"
    assert done.lock["counts"] == {"train": 4, "val": 2}
    assert done.lock["derived"]["all"] == "data/nyud, recipe nyuv2_13"
    assert done.lock["source"]["digest"] == read_json(project.root / "data/nyud.lock.json")["digest"]
    before, after = (open_layout("nyud", project.root / "data" / name) for name in ("nyud", "nyuv2_13_derived"))
    assert after.image("0001").shape == (288, 384, 3)
    assert after.packaging["classes"][11] == "wall"
    assert after.packaging["camera"]["fx"] == pytest.approx(518.8579 / 2 * 384 / 276)  # of the part, not the frame
    old, new = part(before.target("semseg", "0001")), after.target("semseg", "0001")
    for label in np.unique(old[old != VOID]):
        assert MAP_40_TO_13[label] - 1 in new
    assert (new[:10] == 11).all()  # the frame's upper half is wall (1 of 40, 12 of 13)
    assert (after.target("semseg", "0002") == 6).all()  # other prop (40) is objects (7)
    depth = part(before.target("depth", "0001"))
    np.testing.assert_allclose(after.target("depth", "0001"), nearest(depth), atol=6e-4)
    normals = after.target("normals", "0001")
    known = normals[..., 0] != VOID
    assert known.mean() > 0.8
    np.testing.assert_allclose(np.linalg.norm(normals[known], axis=-1), 1, atol=1e-5)


def test_a_few_images_are_spread_over_the_split(project: Project, nyud: Path):
    import_set(project, "nyud", nyud, track=False)
    done = derive_nyuv2_13(project, "nyud", "few", images=2)
    layout = open_layout("nyud", done.folder)
    assert layout.ids("train") == ("0001", "0004")
    assert layout.ids("val") == ("0005", "0006")
    with pytest.raises(UserError, match="--images 3: the split has 2 images"):
        derive_nyuv2_13(project, "nyud", "few", images=3)


def test_a_set_that_dvc_tracks_is_not_derived_again_without_it(project: Project, nyud: Path):
    import_set(project, "nyud", nyud, track=False)
    done = derive_nyuv2_13(project, "nyud", "few", images=1)
    (project.root / "data/few.dvc").write_text("outs:\n- md5: 0123456789abcdef.dir\n  path: few\n")
    with pytest.raises(UserError, match=r"data/few\.dvc tracks the set that lies here"):
        derive_nyuv2_13(project, "nyud", "few", images=2)
    assert open_layout("nyud", done.folder).ids("train") == ("0001",)


def test_another_layout_is_refused(project: Project, pascal: Path):
    import_set(project, "pascal", pascal, track=False)
    with pytest.raises(UserError, match="data/pascal has the layout pascal"):
        derive_nyuv2_13(project, "pascal")


@pytest.mark.realdata
def test_the_map_is_the_published_one(real_data: Path):
    pairs = [line.split() for line in (real_data / "nyud_v2_240x320/map40to13.txt").read_text().splitlines()]
    assert [int(new) for _, new in pairs] == [0, *MAP_40_TO_13]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nyud", "data/nyud is another set, which is kept: give another name"),
        ("kept", "data/kept is another set"),
        ("rooms", "data/rooms is rendered"),
        ("photographs", "a benchmark expects a set in the layout pascal there"),
        ("../elsewhere", "'../elsewhere' is not a name"),
        ("", "'' is not a name"),
    ],
)
def test_no_other_set_is_replaced_and_nothing_leaves_data(project: Project, nyud: Path, name: str, message: str):
    import_set(project, "nyud", nyud, track=False)
    (project.root / "data/kept").mkdir()
    benchmark = (ROOT / "config/benchmarks/pascal_lite.yaml").read_text().replace("data: pascal", "data: photographs")
    (project.root / "config/benchmarks/photographs.yaml").write_text(benchmark)
    before = sorted(project.root.rglob("*"))
    with pytest.raises(UserError, match=message):
        derive_nyuv2_13(Project(project.root), "nyud", name)
    assert sorted(project.root.rglob("*")) == before
    assert not list(project.root.parent.glob("elsewhere*"))


def test_a_set_of_this_recipe_may_be_derived_again(project: Project, nyud: Path):
    import_set(project, "nyud", nyud, track=False)
    derive_nyuv2_13(project, "nyud", images=1)
    assert derive_nyuv2_13(project, "nyud").lock["counts"] == {"train": 4, "val": 2}
