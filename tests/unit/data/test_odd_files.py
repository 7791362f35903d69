"""Files that people really have: strays, capitals, marks at the beginning, pages saved as archives. Read, or named."""

import io
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.data.formats.file_kinds import kind_of
from mtcp.data.formats.layouts import read_ids
from mtcp.data.formats.opening import open_layout
from mtcp.data.preparation import sets
from mtcp.data.preparation.checking import check_set
from mtcp.data.preparation.contents import content_digest
from mtcp.data.preparation.importing import import_set

PAGE = b"\n<!DOCTYPE html><html><title>Quota exceeded</title></html>"


class TestStrays:
    NAMES = ("images/.DS_Store", "images/._0003.jpg", "depth/Thumbs.db", "__MACOSX/images/._0001.jpg", "desktop.ini")

    def test_what_file_managers_leave_changes_nothing(self, project: Project, nyud: Path):
        for name in self.NAMES:
            (nyud / name).parent.mkdir(parents=True, exist_ok=True)
            (nyud / name).write_bytes(b"\x00\x05\x16\x07")
        import_set(project, "nyud", nyud, track=False)
        folder = project.root / "data/nyud"
        before = content_digest(folder)
        sets.prepare(project, "nyud")
        for name in self.NAMES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"\x00\x05\x16\x07")
        assert content_digest(folder) == before
        assert sets.require_checked(project, "nyud")["content"] == before
        assert sets.recorded_content(project, "nyud") == []

    def test_what_does_not_belong_is_named(self, project: Project, nyud: Path):
        import_set(project, "nyud", nyud, track=False)
        sets.prepare(project, "nyud")
        (project.root / "data/nyud/images/copy of 0001.jpg").touch()
        assert sets.recorded_content(project, "nyud")[1] == (
            "files that belong to no image: images/copy of 0001.jpg: remove them"
        )
        with pytest.raises(UserError, match=r"was changed since .*images/copy of 0001\.jpg"):
            sets.require_checked(project, "nyud")

    def test_an_archive_packed_on_a_mac(self, project: Project, nyud: Path, tmp_path: Path):
        """Its folder of attributes comes first, and mirrors the set's folders."""
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            archive.writestr("__MACOSX/nyud/gt_sets/._train.txt", b"\x00\x05\x16\x07")
            for path in sorted(nyud.rglob("*")):
                archive.write(path, Path("nyud") / path.relative_to(nyud))
        assert import_set(project, "nyud", tmp_path / "set.zip", track=False).lock["counts"] == {"train": 4, "val": 2}


class TestNames:
    def test_endings_in_capitals_are_read_and_brought_to_small_letters(self, project: Project, nyud: Path):
        for number, ending in ((1, "jpg"), (2, "jpg")):
            path = nyud / f"images/000{number}.{ending}"
            path.rename(path.with_suffix(".JPG"))
        depth = np.load(nyud / "depth/0003.npy")
        (nyud / "depth/0003.npy").unlink()
        Image.fromarray((depth * 1000).astype(np.uint16)).save(nyud / "depth/0003.PNG")
        (nyud / "edge/0004.npy").rename(nyud / "edge/0004.NPY")
        done = import_set(project, "nyud", nyud, track=False)
        assert (done.folder / "images/0001.jpg").exists() and (done.folder / "depth/0003.png").exists()
        np.testing.assert_allclose(open_layout("nyud", done.folder).target("depth", "0003")[1:], depth[1:], atol=1e-3)

    def test_a_mark_at_the_beginning_of_a_list_is_no_part_of_an_id(self, tmp_path: Path):
        (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbf0001\r\n0002\r\n")
        assert read_ids(tmp_path / "train.txt") == (("0001", "0002"), [])

    @pytest.mark.parametrize("coding", ["utf-16", "utf-16-be"])
    def test_a_list_of_another_coding_is_named(self, tmp_path: Path, coding: str):
        mark = b"\xfe\xff" if coding == "utf-16-be" else b""
        (tmp_path / "train.txt").write_bytes(mark + "0001\n".encode(coding))
        assert "is UTF-16: save it as UTF-8" in read_ids(tmp_path / "train.txt")[1][0]


def tar_bytes() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"), (PAGE, "a web page"), (b"\xef\xbb\xbf<html>", "a web page"), (b"%PDF-1.4", "a PDF"),
        (b"PK\x03\x04..", "a zip archive"), (b"\x1f\x8b\x08", "a gzip archive"), (tar_bytes(), "a tar archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"), (b"\x93NUMPY\x01", "a NumPy array"),
        (b"MATLAB 5.0 MAT-file", "a MATLAB file of version 5 to 7"), (b"0001\n0002\n", ""),
    ],
)  # fmt: skip
def test_kinds_of_files(tmp_path: Path, content: bytes, words: str):
    (tmp_path / "file").write_bytes(content)
    assert kind_of(tmp_path / "file").startswith(words) and bool(kind_of(tmp_path / "file")) == bool(words)


class TestOneSentence:
    """What a file is, where it is not what its name says."""

    @pytest.mark.parametrize("name", ["NYUD_MT.tgz", "NYUD_MT.zip", "nyu_depth_v2_labeled.mat", "NYUD_MT.rar"])
    def test_a_page_saved_as_the_set(self, project: Project, tmp_path: Path, name: str):
        (tmp_path / name).write_bytes(PAGE)
        with pytest.raises(UserError, match=f"{name} .*it is a web page, saved instead of the file"):
            import_set(project, "nyud", tmp_path / name, track=False)

    @pytest.mark.parametrize("name", ["images/0001.jpg", "segmentation/0001.png", "depth/0001.npy"])
    def test_a_page_saved_as_one_file(self, project: Project, nyud: Path, name: str):
        (nyud / name).write_bytes(PAGE)
        with pytest.raises(UserError, match=r"image '0001': .*it is a web page"):
            import_set(project, "nyud", nyud, track=False)

    def test_a_page_saved_as_an_annotation(self, pascal: Path):
        (pascal / "human_parts/2008_000001.mat").write_bytes(PAGE)
        assert any("it is a web page" in problem for problem in check_set(open_layout("pascal", pascal)).problems)

    def test_a_zip_called_tgz(self, project: Project, nyud: Path, tmp_path: Path):
        with zipfile.ZipFile(tmp_path / "set.tgz", "w") as archive:
            archive.write(nyud / "gt_sets/train.txt")
        with pytest.raises(UserError, match=r"set\.tgz is a broken or truncated archive .*it is a zip archive"):
            import_set(project, "nyud", tmp_path / "set.tgz", track=False)

    def test_matlab_s_older_format(self, project: Project, tmp_path: Path):
        savemat(tmp_path / "nyu.mat", {"images": np.zeros((4, 4, 3, 1))})
        with pytest.raises(UserError, match=r"not a readable HDF5 .*it is a MATLAB file of version 5 to 7"):
            import_set(project, "nyud", tmp_path / "nyu.mat", track=False)


def frames(**changes: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays as MATLAB writes them: 3 frames of 24x32, columns first."""
    usual = {
        "images": np.zeros((3, 3, 32, 24), np.uint8),
        "depths": np.ones((3, 32, 24), np.float32),
        "labels": np.zeros((3, 32, 24), np.uint16),
    }
    return usual | changes


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (frames(images=np.zeros((3, 3, 32, 24), np.float64)), "images are float64, expected uint8"),
        (frames(depths=np.ones((2, 32, 24), np.float32)), "3 images, 2 depths, 3 labels"),
        (frames(depths=np.ones((3, 32, 24), np.uint16)), "depths are uint16, expected floating point"),
        (frames(labels=np.zeros((3, 32, 24))), "labels are float64, expected integers"),
        (frames(images=np.zeros((3, 24, 32, 3), np.uint8)), "images have shape .3, 24, 32, 3."),
        (frames(images=np.zeros((3, 3, 24, 32), np.uint8)), "frames are stored row by row .24x32."),
        (frames(labels=np.zeros((3, 24, 32), np.uint16)), "labels are .24, 32., the images .32, 24."),
        (frames(labels=np.full((3, 32, 24), 900, np.uint16)), "raw class 900"),
    ],
    ids=["float", "fewer depths", "integer depth", "float labels", "channels last", "rows first", "turned", "class"],
)  # fmt: skip
def test_hdf5_that_matlab_did_not_write(project: Project, tmp_path: Path, arrays: dict, words: str):
    with h5py.File(tmp_path / "nyu.mat", "w") as file:
        for name, values in arrays.items():
            file[name] = values
    with pytest.raises(UserError, match=words):
        import_set(project, "nyud", tmp_path / "nyu.mat", track=False)
    assert not (project.root / "data/nyud").exists()


def test_a_colour_that_the_palette_has_not():
    from mtcp.data.formats.label_codings import from_colours, palette

    np.testing.assert_array_equal(from_colours(palette()[None], "x"), np.arange(256, dtype=np.uint8)[None])
    with pytest.raises(UserError, match=r"x has the colour \(1, 2, 3\), which VOC's palette has not"):
        from_colours(np.full((2, 2, 3), (1, 2, 3), np.uint8), "x")
