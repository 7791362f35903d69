"""Both layouts in their exact on-disk form, their variants, and what cannot be read."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtcp.core.errors import UserError
from mtcp.data.formats import packaging
from mtcp.data.formats.layouts import read_ids
from mtcp.data.formats.opening import open_layout

VOID = 255


class TestNyud:
    def test_the_usual_form(self, nyud: Path, frame: Callable):
        layout = open_layout("nyud", nyud)
        assert layout.ids("train") == ("0001", "0002", "0003", "0004")
        assert layout.ids("val") == ("0005", "0006")
        assert layout.image("0001").shape == (24, 32, 3)
        labels = layout.target("semseg", "0001")
        assert labels.dtype == np.uint8
        assert (labels[0, 0], labels[1, 1], labels[20, 0]) == (VOID, 0, 1)
        depth = layout.target("depth", "0001")
        assert depth.dtype == np.float32
        assert (depth[0, 1], depth[1, 1]) == (VOID, 3.0)
        normals = layout.target("normals", "0001")
        assert (normals[0, 2] == VOID).all()
        np.testing.assert_array_equal(normals[20, 5], [0, -1, 0])
        np.testing.assert_array_equal(layout.target("edge", "0001"), frame(1)["edge"])

    def test_depth_as_png_is_in_millimetres(self, nyud: Path):
        (nyud / "depth/0001.npy").unlink()
        Image.fromarray(np.full((24, 32), 1234, np.uint16)).save(nyud / "depth/0001.png")
        np.testing.assert_allclose(open_layout("nyud", nyud).target("depth", "0001"), 1.234, rtol=1e-6)

    def test_normals_and_edges_as_pictures(self, nyud: Path):
        (nyud / "normals/0001.npy").unlink()
        (nyud / "edge/0001.npy").unlink()
        picture = np.zeros((24, 32, 3), np.uint8)
        picture[:] = (255, 128, 127)
        picture[0, 0] = (127, 128, 128)
        Image.fromarray(picture).save(nyud / "normals/0001.png")
        for bright in (1, 255):
            edge = np.zeros((24, 32), np.uint8)
            edge[3] = bright
            Image.fromarray(edge).save(nyud / "edge/0001.png")
            assert open_layout("nyud", nyud).target("edge", "0001").sum() == 32
        normals = open_layout("nyud", nyud).target("normals", "0001")
        assert (normals[0, 0] == VOID).all()
        np.testing.assert_allclose(normals[5, 5], [1, 0, 0], atol=0.01)
        np.testing.assert_allclose(np.linalg.norm(normals[5, 5]), 1, atol=1e-6)

    def test_images_as_png_grey_and_cmyk(self, nyud: Path):
        grey = Image.new("L", (32, 24), 77)
        (nyud / "images/0001.jpg").unlink()
        grey.save(nyud / "images/0001.png")
        Image.new("CMYK", (32, 24), (0, 0, 0, 255)).save(nyud / "images/0002.jpg")
        layout = open_layout("nyud", nyud)
        assert (layout.image("0001") == 77).all()
        assert layout.image("0002").max() < 10

    @pytest.mark.parametrize("form", ["<u2", ">u2"])
    def test_sixteen_bits_of_grey_are_scaled(self, nyud: Path, form: str):
        """PNG and TIFF of either byte order; white is 65535."""
        (nyud / "images/0001.jpg").unlink()
        stored = np.repeat([[0, 128, 129, 30000, 65406, 65407, 65535, 65535]], 24, axis=0).astype(form)
        Image.fromarray(stored).save(nyud / "images/0001.png", "png" if form == "<u2" else "tiff")
        found = open_layout("nyud", nyud).image("0001")
        assert found.dtype == np.uint8
        assert found[5].tolist() == [[value] * 3 for value in (0, 0, 1, 117, 254, 255, 255, 255)]

    @pytest.mark.parametrize(("form", "mode"), [(np.int32, "I"), (np.float32, "F")])
    def test_a_photograph_whose_white_is_unknown_is_refused(self, nyud: Path, form: type, mode: str):
        (nyud / "images/0001.jpg").unlink()
        Image.fromarray(np.full((24, 32), 200, form)).save(nyud / "images/0001.png", "tiff")
        with pytest.raises(UserError, match=rf"image '0001': .*0001\.png has the mode {mode} .*convert it to 8 bits"):
            open_layout("nyud", nyud).image("0001")

    def test_sixteen_bit_labels_within_range_are_labels(self, nyud: Path):
        Image.fromarray(np.full((24, 32), 40, np.uint16)).save(nyud / "segmentation/0001.png")
        assert (open_layout("nyud", nyud).target("semseg", "0001") == 39).all()
        Image.fromarray(np.full((24, 32), 894, np.uint16)).save(nyud / "segmentation/0001.png")
        with pytest.raises(UserError, match=r"image '0001'.*not a label map.*894"):
            open_layout("nyud", nyud).target("semseg", "0001")

    def test_the_recorded_convention_turns_z(self, nyud: Path):
        packaging.write(nyud, {"layout": "nyud", "normals": {"source": "given", "z": "viewer"}})
        normals = open_layout("nyud", nyud).target("normals", "0001")
        np.testing.assert_array_equal(normals[1, 1], [0, 0, 1])
        assert (normals[0, 2] == VOID).all()

    def test_normals_are_brought_to_unit_length(self, nyud: Path):
        np.save(nyud / "normals/0001.npy", np.full((24, 32, 3), 0.5, np.float64))
        normals = open_layout("nyud", nyud).target("normals", "0001")
        np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-6)


class TestPascal:
    def test_labels_of_voc_come_first(self, pascal: Path):
        Image.fromarray(np.full((24, 32), 7, np.uint8)).save(pascal / "semseg/pascal-context/2008_000001.png")
        layout = open_layout("pascal", pascal)
        assert 7 not in layout.target("semseg", "2008_000001")
        assert set(np.unique(layout.target("semseg", "2008_000003"))) == {0, 15, VOID}

    def test_parts_of_people_in_a_mat_file(self, pascal: Path):
        parts = open_layout("pascal", pascal).target("human_parts", "2008_000001")
        assert parts[0, 0] == 0  # the dog's head is no part of a person
        assert [parts[row, 10] for row in (5, 9, 11, 15)] == [1, 2, 4, 6]

    def test_an_image_without_a_person_is_void(self, pascal: Path):
        assert (open_layout("pascal", pascal).target("human_parts", "2008_000004") == VOID).all()

    def test_a_single_object_with_a_single_part(self, tmp_path: Path, pascal: Path):
        from scipy.io import savemat

        mask = np.ones((24, 32), np.uint8)
        person = {"class_ind": 15, "mask": mask, "parts": {"part_name": "torso", "mask": mask}}
        savemat(pascal / "human_parts/2008_000001.mat", {"anno": {"objects": person}})
        assert (open_layout("pascal", pascal).target("human_parts", "2008_000001") == 2).all()

    def test_a_person_without_parts_is_background(self, pascal: Path):
        from scipy.io import savemat

        mask = np.ones((24, 32), np.uint8)
        objects = np.array([{"class_ind": 15, "mask": mask, "parts": []}] * 2, dtype=object)
        savemat(pascal / "human_parts/2008_000001.mat", {"anno": {"objects": objects}})
        assert (open_layout("pascal", pascal).target("human_parts", "2008_000001") == VOID).all()

    def test_saliency_normals_and_boundaries(self, pascal: Path):
        layout = open_layout("pascal", pascal)
        sal = layout.target("sal", "2008_000001")
        assert (sal[10, 10], sal[0, 0], sal.max()) == (1, 0, 1)
        normals = layout.target("normals", "2008_000001")
        assert (normals[0, 0] == VOID).all()
        np.testing.assert_allclose(normals[5, 5], [0, 0, 1], atol=0.006)
        edge = layout.target("edge", "2008_000001")
        assert (edge[10, 7], edge[10, 8], edge[10, 15], edge[0, 0]) == (1, 0, 1, 0)

    @pytest.mark.parametrize("content", [b"", b"not a mat file", b"MATLAB 5.0 MAT-file" + bytes(200)])
    def test_a_damaged_mat_file_is_named(self, pascal: Path, content: bytes):
        (pascal / "human_parts/2008_000001.mat").write_bytes(content)
        with pytest.raises(UserError, match=r"image '2008_000001'.*2008_000001\.mat"):
            open_layout("pascal", pascal).target("human_parts", "2008_000001")

    def test_a_mat_file_of_something_else_is_named(self, pascal: Path, write_parts: Callable):
        write_parts(pascal / "pascal-context/trainval/2008_000001.mat", 24, 32)
        with pytest.raises(UserError, match="no LabelMap"):
            open_layout("pascal", pascal).target("edge", "2008_000001")
        shutil.copy(pascal / "pascal-context/trainval/2008_000002.mat", pascal / "human_parts/2008_000001.mat")
        with pytest.raises(UserError, match="not a PASCAL-Part annotation"):
            open_layout("pascal", pascal).target("human_parts", "2008_000001")


class TestBadFiles:
    def test_a_missing_image_or_target_is_named(self, nyud: Path):
        (nyud / "images/0002.jpg").unlink()
        (nyud / "depth/0003.npy").unlink()
        layout = open_layout("nyud", nyud)
        with pytest.raises(UserError, match=r"image '0002'.*0002\.jpg is missing"):
            layout.image("0002")
        with pytest.raises(UserError, match=r"image '0003' has no depth: expected .*depth/0003\.npy"):
            layout.target("depth", "0003")

    @pytest.mark.parametrize("keep", [0, 30, 300])
    def test_a_truncated_image_is_named(self, nyud: Path, keep: int):
        whole = (nyud / "images/0001.jpg").read_bytes()
        (nyud / "images/0001.jpg").write_bytes(whole[:keep])
        with pytest.raises(UserError, match=r"image '0001'.*cannot be decoded.*fetch it again"):
            open_layout("nyud", nyud).image("0001")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_depth_that_is_no_number(self, nyud: Path, frame: Callable, value: float):
        depth = frame(1)["depth"]
        depth[3, 3] = value
        np.save(nyud / "depth/0001.npy", depth)
        with pytest.raises(UserError, match=r"image '0001'.*NaN or infinite depth"):
            open_layout("nyud", nyud).target("depth", "0001")

    def test_a_truncated_or_pickled_array_is_refused(self, nyud: Path):
        whole = (nyud / "depth/0001.npy").read_bytes()
        (nyud / "depth/0001.npy").write_bytes(whole[: len(whole) // 2])
        pickled = io.BytesIO()
        np.save(pickled, np.array([{"code": print}], dtype=object), allow_pickle=True)
        (nyud / "normals/0001.npy").write_bytes(pickled.getvalue())
        layout = open_layout("nyud", nyud)
        for task in ("depth", "normals"):
            with pytest.raises(UserError, match=r"image '0001'.*not a readable \.npy"):
                layout.target(task, "0001")

    @pytest.mark.parametrize("task", ["depth", "normals", "edge"])
    def test_an_array_of_the_wrong_rank(self, nyud: Path, task: str):
        np.save(nyud / f"{task}/0001.npy", np.ones((2, 24, 32, 3), np.float32))
        with pytest.raises(UserError, match=r"image '0001'.*shape"):
            open_layout("nyud", nyud).target(task, "0001")

    def test_a_missing_folder_says_what_to_do(self, tmp_path: Path):
        with pytest.raises(UserError, match="mtcp data prepare nowhere"):
            open_layout("nyud", tmp_path / "nowhere")


class TestSplitLists:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "is empty"),
            ("\n  \n", "is empty"),
            ("a\nb\na\n", "'a' is there twice"),
            ("a\n../../etc/passwd\n", "path separator"),
            ("a\n..\n", "path separator"),
            ("a\\b\n", "path separator"),
            ("a\n" + "b" * 300, "'bbbbbbbbbbbbbbbbbbbb'... is not a file stem"),
            ("a\nb\x00\n", "is not a file stem"),
        ],
    )
    def test_bad_lists(self, tmp_path: Path, text: str, words: str):
        path = tmp_path / "train.txt"
        path.write_text(text)
        ids, (problem, *more) = read_ids(path)
        assert set(ids) <= {"a", "b"} and not more
        assert str(path) in problem and words in problem

    def test_a_missing_or_binary_list(self, tmp_path: Path):
        (tmp_path / "gt_sets").mkdir()
        path, layout = tmp_path / "gt_sets/train.txt", open_layout("nyud", tmp_path)
        with pytest.raises(UserError, match=r"train\.txt cannot be read \(No such file"):
            layout.ids("train")
        path.write_bytes(b"\xff\x00")
        with pytest.raises(UserError, match="cannot be read"):
            layout.ids("train")

    def test_windows_line_ends_and_blank_lines(self, tmp_path: Path):
        (tmp_path / "train.txt").write_bytes(b"a\r\n\r\n b \r\n")
        assert read_ids(tmp_path / "train.txt") == (("a", "b"), [])


@pytest.mark.realdata
def test_real_photographs_go_through_the_same_readers(real_data: Path):
    nyud = open_layout("nyud", real_data / "nyud_v2_240x320")
    assert (len(nyud.ids("train")), len(nyud.ids("val"))) == (795, 654)
    depth, labels = nyud.target("depth", "0003"), nyud.target("semseg", "0003")
    assert nyud.image("0003").shape == (240, 320, 3)
    assert 0.5 < depth.min() < depth.max() < 11
    assert labels[labels != VOID].max() <= 39
    pascal = open_layout("pascal", real_data / "pascal_person_60")
    image_id = pascal.ids("train")[0]
    parts, objects = pascal.target("human_parts", image_id), pascal.target("semseg", image_id)
    assert set(np.unique(parts)) <= set(range(7))
    assert (objects[parts > 0] == 15).mean() > 0.8
