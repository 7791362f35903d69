"""Import: every packaging, every corruption named at once, nothing half-done ever visible."""

import fcntl
import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from mtcp.core.data_sets import Counts, description_path, read_description
from mtcp.core.errors import UserError
from mtcp.core.files import read_json
from mtcp.core.project import Project
from mtcp.data.formats import opening, packaging
from mtcp.data.formats.nyu import bundled, nyu_class_map
from mtcp.data.formats.opening import open_layout
from mtcp.data.preparation import importing, sets
from mtcp.data.preparation.archives import unpack
from mtcp.data.preparation.checking import statistics
from mtcp.data.preparation.codings import Told
from mtcp.data.preparation.contents import content_digest
from mtcp.data.preparation.importing import import_set


def visible(project: Project) -> list[str]:
    """What lies in data/, without lock files."""
    data = project.root / "data"
    return (
        sorted(path.name for path in data.iterdir() if not path.name.endswith(".installing")) if data.exists() else []
    )


def pack(folder: Path, target: Path) -> Path:
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w") as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, Path("NYUD_MT") / path.relative_to(folder))
    else:
        compression = {".tgz": "gz", ".xz": "xz", ".bz2": "bz2"}.get(target.suffix, "")
        with tarfile.open(target, f"w:{compression}") as archive:
            archive.add(folder, "some/where/NYUD_MT")
    return target


def many_frames(nyud: Path, folder: Path) -> Path:
    """80 frames of 240x320 without normals, which take some seconds to derive."""
    for part in ("gt_sets", "images", "segmentation", "depth", "edge"):
        (folder / part).mkdir(parents=True)
    names = [f"{k:04d}" for k in range(1, 81)]
    for split, chosen in (("train", names[:60]), ("val", names[60:])):
        (folder / f"gt_sets/{split}.txt").write_text("\n".join(chosen))
    depth = np.load(nyud / "depth/0001.npy").repeat(10, axis=0).repeat(10, axis=1)
    for name in names:
        Image.new("RGB", (320, 240)).save(folder / f"images/{name}.jpg")
        Image.new("L", (320, 240), 1).save(folder / f"segmentation/{name}.png")
        np.save(folder / f"depth/{name}.npy", depth)
        np.save(folder / f"edge/{name}.npy", np.zeros((240, 320), np.float32))
    return folder


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from mtcp.cli import main
main()
"""


def test_a_folder_is_copied_checked_and_recorded(project: Project, nyud: Path):
    done = import_set(project, "nyud", nyud, track=False)
    assert visible(project) == ["nyud", "nyud.lock.json"]
    lock = read_json(project.root / "data/nyud.lock.json")
    assert lock["counts"] == {"train": 4, "val": 2}
    assert lock["packaging"] == "NYUD_MT 24x32" and lock["derived"] == {}
    assert lock["source"] == {"name": "NYUD_MT"} and "research" in lock["licence"]
    assert lock["digest"] == content_digest(done.folder)
    record = packaging.read(done.folder)
    assert record["size"] == [24, 32] and record["normals"] == {"source": "given", "z": "away"}
    assert (done.folder / "images/0001.jpg").read_bytes() == (nyud / "images/0001.jpg").read_bytes()
    assert sets.prepare(project, "nyud").name.startswith("nyud-" + lock["digest"][:16])


@pytest.mark.parametrize("name", ["set.tgz", "set.tar", "set.zip"])
def test_archives_hold_the_same_set(project: Project, nyud: Path, tmp_path: Path, name: str):
    whole = import_set(project, "nyud", nyud, track=False).lock
    packed = import_set(project, "nyud", pack(nyud, tmp_path / name), track=False).lock
    assert packed["digest"] == whole["digest"]
    assert packed["source"]["name"] == name and len(packed["source"]["sha256"]) == 64
    assert visible(project) == ["nyud", "nyud.lock.json"]


def test_missing_normals_and_edges_are_derived_and_said_to_be(project: Project, nyud: Path):
    shutil.rmtree(nyud / "normals")
    shutil.rmtree(nyud / "edge")
    done = import_set(project, "nyud", nyud, track=False)
    assert done.lock["derived"] == {"normals": "depth, local plane fits", "edge": "semseg, label boundaries"}
    layout = open_layout("nyud", done.folder)
    normals, edge = layout.target("normals", "0001"), layout.target("edge", "0001")
    valid = normals[..., 0] != 255
    assert valid.mean() > 0.9
    assert np.median(normals[2:8, 20:][..., 2]) < -0.99  # the wall faces the viewer
    labels = layout.target("semseg", "0001")
    assert (edge[labels == 255] == 0).all() and 0 < (edge == 1).mean() < 0.3


def test_normals_are_derived_with_the_camera_that_the_set_records(project: Project, nyud: Path):
    shutil.rmtree(nyud / "normals")
    rows = (np.arange(24) + 0.5 - 12) / 40  # a floor 1 m below a camera of 40 pixels, tilted 45 degrees down
    depth = np.broadcast_to((2**0.5 / (1 + rows))[:, None], (24, 32)).astype(np.float32)
    for path in (nyud / "depth").iterdir():
        np.save(path, depth)
    record = {"layout": "nyud", "size": [24, 32], "camera": {"fx": 40, "fy": 40, "cx": 16, "cy": 12}}
    packaging.write(nyud, record)
    done = import_set(project, "nyud", nyud, track=False)
    found = open_layout("nyud", done.folder).target("normals", "0001")
    known = found[found[..., 0] != 255]
    assert np.median(np.degrees(np.arccos(np.clip(-(known[:, 1] + known[:, 2]) / 2**0.5, -1, 1)))) < 1


def test_the_convention_of_normals_is_found_out(project: Project, nyud: Path):
    for path in (nyud / "normals").iterdir():
        np.save(path, np.load(path) * np.float32([1, 1, -1]))
    done = import_set(project, "nyud", nyud, track=False)
    assert packaging.read(done.folder)["normals"]["z"] == "viewer"
    np.testing.assert_array_equal(open_layout("nyud", done.folder).target("normals", "0001")[1, 1], [0, 0, -1])


@pytest.mark.parametrize(
    ("size", "highest", "words"),
    [((425, 560), 40, "425x560 crop"), ((24, 32), 41, "41-way labels")],
)
def test_the_packaging_is_named(project: Project, nyud: Path, size: tuple[int, int], highest: int, words: str):
    for k in range(1, 7):
        Image.new("RGB", size[::-1]).save(nyud / f"images/000{k}.jpg")
        Image.fromarray(np.full(size, highest, np.uint8)).save(nyud / f"segmentation/000{k}.png")
        for name in ("depth", "normals", "edge"):
            (nyud / f"{name}/000{k}.npy").unlink()
    assert words in import_set(project, "nyud", nyud, track=False, told=Told(accept=("labels",))).lock["packaging"]


def test_pascal_keeps_its_mat_files_and_sizes(project: Project, pascal: Path):
    done = import_set(project, "pascal", pascal, track=False)
    assert packaging.read(done.folder)["size"] is None
    assert done.lock["packaging"] == "PASCAL_MT 2 sizes"
    assert (done.folder / "human_parts/2008_000001.mat").exists()


def test_the_official_file_of_nyu(project: Project, tmp_path: Path):
    """HDF5 as MATLAB writes it: frames x channels x columns x rows, raw classes, depth in metres."""
    path, total = tmp_path / "nyu_depth_v2_labeled.mat", 12
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (total, 3, 32, 24)).astype(np.uint8)
    depths = rng.uniform(1, 4, (total, 32, 24)).astype(np.float32)
    labels = rng.integers(0, 895, (total, 32, 24)).astype(np.uint16)
    with h5py.File(path, "w") as file:
        for name, values in (("images", images), ("depths", depths), ("labels", labels)):
            file.create_dataset(name, data=values, chunks=(1, *values.shape[1:]))
    done = import_set(project, "nyud", path, track=False)
    layout = open_layout("nyud", done.folder)
    train, val = layout.ids("train"), layout.ids("val")
    assert set(train) | set(val) == {f"{k:04d}" for k in range(1, total + 1)}
    assert set(train) <= set(bundled("nyud_train_795"))
    np.testing.assert_array_equal(layout.image("0003"), images[2].transpose(2, 1, 0))
    np.testing.assert_array_equal(layout.target("depth", "0003"), depths[2].T)
    np.testing.assert_array_equal(layout.target("semseg", "0003"), nyu_class_map()[labels[2].T] - np.uint8(1))
    assert done.lock["derived"].keys() == {"normals", "edge"}


def test_bundled_lists_are_whole():
    assert [len(bundled(n)) for n in ("nyud_train_795", "nyud_test_654")] == [795, 654]
    assert [len(bundled(n)) for n in ("pascal_context_train_4998", "pascal_context_val_5105")] == [4998, 5105]
    mapped = nyu_class_map()
    assert mapped.shape == (895,) and mapped[0] == 0 and set(mapped[1:]) == set(range(1, 41))


def assert_all(text: str, *patterns: str) -> None:
    """Every pattern is found in `text`."""
    for pattern in patterns:
        assert re.search(pattern, text), pattern


class TestProblems:
    def import_fails(self, project: Project, source: Path, words: str, name: str = "nyud") -> str:
        with pytest.raises(UserError, match=words) as caught:
            import_set(project, name, source, track=False)
        assert visible(project) == []
        assert f".{name}-new" not in str(caught.value), "the folder of an import that failed is gone"
        return str(caught.value)

    def test_all_at_once_by_image(self, project: Project, nyud: Path, frame: Callable):
        (nyud / "images/0001.jpg").write_bytes(b"\xff\xd8")
        (nyud / "depth/0002.npy").unlink()
        np.save(nyud / "depth/0003.npy", np.full((24, 32), 2500.0, np.float32))
        np.save(nyud / "depth/0004.npy", frame(4)["depth"].T)
        np.save(nyud / "normals/0005.npy", np.full((24, 32, 3), 3.0, np.float32))
        Image.fromarray(np.full((24, 32), 77, np.uint8)).save(nyud / "segmentation/0006.png")
        text = self.import_fails(project, nyud, "cannot be used, 6 problems")
        assert_all(
            text,
            "'0001': .*cannot be decoded",
            "'0002' has no depth",
            "'0003': every depth is above 100 m .*millimetres",
            "'0004': depth is 32x24, the image 24x32 .it is transposed",
            "'0005': normals are no unit vectors",
            "'0006': semseg has class 76",
        )

    def test_split_lists_and_images_at_once(self, project: Project, nyud: Path):
        (nyud / "gt_sets/val.txt").write_text("0005\n../0006\n0005\n0001\n" + "a" * 300 + "\n00\x0006\n")
        (nyud / "images/0002.jpg").write_bytes(b"")
        (nyud / "images/0003.jpg").unlink()
        (nyud / "images/0003.jpg").mkdir()
        text = self.import_fails(project, nyud, "cannot be used, 7 problems")
        assert_all(
            text,
            r"gt_sets/val\.txt: id '\.\./0006' has a path separator",
            "id '0005' is there twice",
            "'a{20}'... is not a file stem",
            r"'00\\x0006'... is not a file stem",
            "ids in both split lists: 1 .'0001' first",
            r"'0002': images/0002\.jpg cannot be decoded",
            r"'0003': images/0003\.jpg is missing",
        )

    def test_arrays_that_cannot_be_what_they_stand_for(self, project: Project, nyud: Path):
        np.save(nyud / "depth/0001.npy", np.full((24, 32), "x"))
        np.save(nyud / "depth/0002.npy", np.ones((24, 0), np.float32))
        (nyud / "depth/0003.npy").unlink()
        Image.fromarray(np.full((24, 32), 128, np.uint8)).save(nyud / "depth/0003.png")
        np.save(nyud / "edge/0004.npy", 1 - np.load(nyud / "edge/0004.npy"))
        Image.fromarray(np.full((24, 32), 894, np.uint16)).save(nyud / "segmentation/0005.png")
        text = self.import_fails(project, nyud, "cannot be used, 5 problems")
        assert_all(
            text,
            "'0001': depth/0001.npy must hold numbers, it has <U1",
            "'0002': depth/0002.npy must hold numbers, it has float32 of shape .24, 0.",
            "'0003': depth/0003.png has 8 bits, too few for depth",
            "'0004': edge marks 96% of the pixels",
            "'0005': segmentation/0005.png is not a label map.* from 894 to 894",
        )

    def test_a_file_that_may_not_be_read(self, project: Project, nyud: Path, monkeypatch):
        def forbidden(path: Path, target: Path) -> None:
            raise PermissionError(13, os.strerror(13), str(path))

        monkeypatch.setattr(shutil, "copyfile", forbidden)
        self.import_fails(project, nyud, r"NYUD_MT/gt_sets/train\.txt cannot be read .Permission denied")

    def test_a_task_that_no_image_has_is_worth_a_warning(self, project: Project, nyud: Path):
        shutil.rmtree(nyud / "segmentation")
        assert "no image has semseg: a benchmark with it cannot use this set" in (
            import_set(project, "nyud", nyud, track=False).findings.warnings
        )

    def test_depth_in_kilometres(self, project: Project, nyud: Path):
        np.save(nyud / "depth/0003.npy", np.full((24, 32), 0.0025, np.float32))
        self.import_fails(project, nyud, "every depth is below 0.05 m")

    def test_depth_that_is_nan_or_nowhere(self, project: Project, nyud: Path):
        np.save(nyud / "depth/0003.npy", np.full((24, 32), np.nan, np.float32))
        np.save(nyud / "depth/0004.npy", np.zeros((24, 32), np.float32))
        text = self.import_fails(project, nyud, "2 problems")
        assert "NaN" in text and "missing (0) at every pixel" in text

    def test_one_pixel(self, project: Project, nyud: Path):
        Image.new("RGB", (1, 1)).save(nyud / "images/0003.jpg")
        self.import_fails(project, nyud, "'0003' is 1x1 pixels")

    def test_other_counts_than_the_field_s_are_worth_a_warning(self, project: Project, nyud: Path, monkeypatch):
        assert import_set(project, "nyud", nyud, track=False).findings.warnings == [
            "split 'train' has 4 images, the field's has 795: numbers on the two do not compare",
            "split 'val' has 2 images, the field's has 654: numbers on the two do not compare",
        ]
        fewer = read_description(description_path("nyud")).model_copy(update={"counts": Counts(train=4, val=2)})
        monkeypatch.setattr(opening, "read_description", lambda path: fewer)
        assert import_set(project, "nyud", nyud, track=False).findings.warnings == []

    def test_an_id_in_both_splits(self, project: Project, nyud: Path):
        (nyud / "gt_sets/val.txt").write_text("0005\n0001\n")
        self.import_fails(project, nyud, "ids in both split lists: 1 .'0001' first")

    @pytest.mark.parametrize(
        ("text", "words"), [("0001\n0001\n", "twice"), ("../0001\n", "path separator"), ("", "empty")]
    )
    def test_bad_split_lists(self, project: Project, nyud: Path, text: str, words: str):
        (nyud / "gt_sets/train.txt").write_text(text)
        self.import_fails(project, nyud, words)

    def test_missing_split_lists(self, project: Project, nyud: Path):
        (nyud / "gt_sets/val.txt").unlink()
        self.import_fails(project, nyud, r"val\.txt cannot be read")
        shutil.rmtree(nyud / "gt_sets")
        self.import_fails(project, nyud, r"is not a nyud data set: gt_sets/train\.txt")

    def test_nothing_there(self, project: Project, tmp_path: Path):
        self.import_fails(project, tmp_path / "absent.tgz", "does not exist")
        (tmp_path / "notes.txt").write_text("x")
        self.import_fails(project, tmp_path / "notes.txt", "neither a folder nor an archive")

    def test_a_broken_mat_file(self, project: Project, tmp_path: Path):
        (tmp_path / "nyu.mat").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
        self.import_fails(project, tmp_path / "nyu.mat", "not a readable HDF5")
        with h5py.File(tmp_path / "other.mat", "w") as file:
            file["images"] = np.zeros((1, 3, 4, 4))
        self.import_fails(project, tmp_path / "other.mat", "has no depths, labels")

    def test_a_disk_that_is_full_is_no_broken_mat_file(self, project: Project, tmp_path: Path, monkeypatch):
        with h5py.File(tmp_path / "nyu.mat", "w") as file:
            file["images"] = np.zeros((1, 3, 32, 24), np.uint8)
            file["depths"], file["labels"] = np.ones((1, 32, 24), np.float32), np.zeros((1, 32, 24), np.uint16)

        def full(*arguments: object) -> None:
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr(Image.Image, "save", full)
        self.import_fails(project, tmp_path / "nyu.mat", r"data/nyud cannot be written: No space left on device")

    def test_a_name_that_tells_no_layout(self, project: Project, nyud: Path):
        self.import_fails(
            project,
            nyud,
            "layout of 'mine' is unknown.* in data/mine.yaml .* .cityscapes, nyud, ",
            name="mine",
        )

    def test_a_rendered_set_is_not_imported_over(self, project: Project, nyud: Path):
        self.import_fails(project, nyud, "data/rooms is rendered .*give yours another name", name="rooms")

    def test_a_failed_import_leaves_the_earlier_one(self, project: Project, nyud: Path):
        before = import_set(project, "nyud", nyud, track=False).lock
        (nyud / "images/0001.jpg").write_bytes(b"")
        with pytest.raises(UserError):
            import_set(project, "nyud", nyud, track=False)
        assert content_digest(project.root / "data/nyud") == before["digest"]

    @pytest.mark.parametrize(("mode", "kind"), [("L", "jpeg"), ("CMYK", "jpeg"), ("I;16", "png")])
    def test_a_grey_or_cmyk_image_is_worth_a_warning(self, project: Project, nyud: Path, mode: str, kind: str):
        Image.new(mode, (32, 24)).save(nyud / "images/0003.jpg", kind)
        warning = import_set(project, "nyud", nyud, track=False).findings.warnings[0]
        assert warning == f"image '0003' is stored as {mode}: it is read as 8-bit RGB"

    def test_an_image_of_floating_point_is_refused(self, project: Project, nyud: Path):
        Image.new("F", (32, 24)).save(nyud / "images/0003.jpg", "tiff")
        self.import_fails(project, nyud, r"image '0003': .* has the mode F .*: convert it to 8 bits")


class TestArchives:
    @pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "a/../../out.txt"])
    @pytest.mark.parametrize("ending", [".tar", ".zip"])
    def test_no_path_leads_out(self, tmp_path: Path, name: str, ending: str):
        archive, folder = tmp_path / f"evil{ending}", tmp_path / "inside"
        folder.mkdir()
        if ending == ".zip":
            with zipfile.ZipFile(archive, "w") as file:
                file.writestr(name, "x")
        else:
            with tarfile.open(archive, "w") as file:
                file.addfile(tarfile.TarInfo(name), io.BytesIO())
        if name.startswith("/") and ending == ".tar":
            unpack(archive, folder)  # tar's data filter strips the leading slash
            assert (folder / "tmp/out.txt").exists()
            return
        with pytest.raises(UserError, match="would leave the folder"):
            unpack(archive, folder)
        assert not (tmp_path / "out.txt").exists()

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
    def test_no_links_and_no_devices_in_tar(self, tmp_path: Path, kind: bytes):
        member = tarfile.TarInfo("images")
        member.type, member.linkname = kind, "/etc"
        with tarfile.open(tmp_path / "evil.tar", "w") as file:
            file.addfile(member)
        with pytest.raises(UserError, match="link or device"):
            unpack(tmp_path / "evil.tar", tmp_path)

    def test_no_links_in_zip(self, tmp_path: Path):
        entry = zipfile.ZipInfo("images")
        entry.external_attr = 0o120777 << 16
        with zipfile.ZipFile(tmp_path / "evil.zip", "w") as file:
            file.writestr(entry, "/etc")
        with pytest.raises(UserError, match="link or device"):
            unpack(tmp_path / "evil.zip", tmp_path)

    def test_no_flood(self, tmp_path: Path, monkeypatch):
        monkeypatch.setattr("mtcp.data.preparation.archives.LARGEST", 1000)
        with zipfile.ZipFile(tmp_path / "big.zip", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a", bytes(2000))
        with tarfile.open(tmp_path / "big.tgz", "w:gz") as file:
            info = tarfile.TarInfo("a")
            info.size = 2000
            file.addfile(info, io.BytesIO(bytes(2000)))
        for name in ("big.zip", "big.tgz"):
            with pytest.raises(UserError, match="more than any known set"):
                unpack(tmp_path / name, tmp_path)

    @pytest.mark.parametrize("name", ["set.tgz", "set.tar", "set.zip"])
    @pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
    def test_truncated_archives(self, project: Project, nyud: Path, tmp_path: Path, name: str, keep: float):
        whole = pack(nyud, tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: int(len(whole) * keep)])
        with pytest.raises(UserError):
            import_set(project, "nyud", tmp_path / name, track=False)
        assert visible(project) == []

    @pytest.mark.parametrize("name", ["set.tgz", "set.tar", "set.tar.xz", "set.tar.bz2", "set.zip"])
    def test_damaged_archives(self, nyud: Path, tmp_path: Path, name: str):
        """Bytes flipped anywhere: one sentence, or files for the check to judge; never another exception."""
        pack(nyud, tmp_path / name)
        whole, draw, told = (tmp_path / name).read_bytes(), random.Random(0), 0
        for attempt in range(40):
            content = bytearray(whole)
            first = 0 if attempt % 2 else len(content) - 600  # a zip's table of contents lies at its end
            for _ in range(20):
                content[draw.randrange(first, len(content))] = draw.randrange(256)
            (tmp_path / name).write_bytes(content)
            folder = tmp_path / f"unpacked{attempt}"
            folder.mkdir()
            try:
                unpack(tmp_path / name, folder)
            except UserError as error:
                told += "broken or truncated archive" in str(error)
        assert told > 5

    def test_a_zip_with_a_password(self, nyud: Path, tmp_path: Path):
        content = bytearray(pack(nyud, tmp_path / "set.zip").read_bytes())
        first = content.index(b"PK\x01\x02")
        while first >= 0:  # the flag of encryption in every entry of the table of contents
            content[first + 8] |= 1
            first = content.find(b"PK\x01\x02", first + 1)
        (tmp_path / "set.zip").write_bytes(content)
        with pytest.raises(UserError, match="password required"):
            unpack(tmp_path / "set.zip", tmp_path)


class TestAtOnce:
    def test_two_imports_at_once(self, project: Project, nyud: Path):
        (project.root / "data").mkdir()
        with (project.root / "data/.nyud.installing").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(UserError, match="another process is writing data/nyud"):
                import_set(project, "nyud", nyud, track=False)
        import_set(project, "nyud", nyud, track=False)

    def test_what_a_killed_import_left_is_swept_away(self, project: Project, nyud: Path):
        (project.root / "data/.nyud-new-abc/images").mkdir(parents=True)
        import_set(project, "nyud", nyud, track=False)
        assert visible(project) == ["nyud", "nyud.lock.json"]

    def test_a_set_that_was_being_replaced_comes_back(self, project: Project, nyud: Path):
        """Killed after the earlier set was moved aside and before the new one took its place."""
        before = import_set(project, "nyud", nyud, track=False).lock["digest"]
        (project.root / "data/nyud").rename(project.root / "data/.nyud-swap")
        (nyud / "images/0001.jpg").unlink()
        with pytest.raises(UserError, match="cannot be used"):
            import_set(project, "nyud", nyud, track=False)
        assert content_digest(project.root / "data/nyud") == before

    def test_an_interruption_leaves_nothing(self, project: Project, nyud: Path, monkeypatch):
        def interrupted(*arguments: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(importing, "check_set", interrupted)
        with pytest.raises(KeyboardInterrupt):
            import_set(project, "nyud", nyud, track=False)
        assert visible(project) == []

    @pytest.mark.slow
    def test_a_killed_import_leaves_nothing_and_holds_no_lock(self, project: Project, nyud: Path, tmp_path: Path):
        """Killed while its workers derive normals: they end with it, and the next import goes on."""
        large = many_frames(nyud, tmp_path / "large")
        process = subprocess.Popen(
            [sys.executable, "-m", "mtcp", "data", "import", "nyud", str(large)],
            cwd=project.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while process.poll() is None and not list((project.root / "data").glob(".nyud-new-*/normals_derived/*.png")):
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not (project.root / "data/nyud").exists()
        deadline = time.monotonic() + 60
        while True:
            try:
                import_set(project, "nyud", nyud, track=False)
                break
            except UserError as error:  # the workers have not noticed yet
                assert "another process" in str(error) and time.monotonic() < deadline
                time.sleep(0.1)
        assert visible(project) == ["nyud", "nyud.lock.json"]

    @pytest.mark.slow
    @pytest.mark.parametrize(("limit", "stage"), [(100, "copying"), (1900, "deriving"), (20_000, "no limit")])
    def test_a_full_disk(self, project: Project, nyud: Path, limit: int, stage: str):
        """Writes fail after so many bytes per file, as they do on a full disk."""
        for k in range(1, 7):
            (nyud / f"edge/000{k}.npy").unlink()
            (nyud / f"normals/000{k}.npy").unlink()
            noise = np.random.default_rng(k).integers(0, 200, (24, 32))  # else the derived normals are a tiny file
            depth = np.load(nyud / f"depth/000{k}.npy") * 1000 + noise
            (nyud / f"depth/000{k}.npy").unlink()
            Image.fromarray(depth.astype(np.uint16)).save(nyud / f"depth/000{k}.png")
            Image.new("RGB", (32, 24)).save(nyud / f"images/000{k}.jpg")
        command = [sys.executable, "-c", LIMITED, str(limit), "data", "import", "nyud", str(nyud)]
        done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
        if stage == "no limit":
            assert done.returncode == 0, done.stderr
            return
        assert done.returncode == 2, done.stderr
        assert "data/nyud cannot be written: File too large; raise the limit on a file" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert visible(project) == []


def test_statistics_by_hand(project: Project, nyud: Path):
    done = import_set(project, "nyud", nyud, track=False)
    summary = statistics(done.findings, open_layout("nyud", done.folder))
    assert summary["sizes"] == {"24x32": 6}
    labels = np.stack([open_layout("nyud", done.folder).target("semseg", f"000{k}") for k in range(1, 7)])
    assert summary["semseg"]["void"] == pytest.approx((labels == 255).mean(), abs=1e-4)
    assert summary["semseg"]["shares"][0] == pytest.approx((labels == 0).sum() / (labels != 255).sum(), abs=1e-4)
    assert 1.9 <= summary["depth"]["quantile_50"] <= 3.1
    assert summary["normals"]["up"] == pytest.approx(0.5, abs=0.01)
    assert summary["semseg"]["names"][0] == "wall"
    coarse = statistics(done.findings, open_layout("nyud", done.folder), {"semseg": {13}})
    assert "names" not in coarse["semseg"], "the names of 40 classes are not those of 13"


@pytest.mark.realdata
@pytest.mark.slow
def test_real_frames_are_imported_with_derived_normals(project: Project, real_data: Path, tmp_path: Path):
    source, few = real_data / "nyud_v2_240x320", tmp_path / "few"
    for split, count in (("train", 6), ("val", 4)):
        ids = (source / f"gt_sets/{split}.txt").read_text().split()[:count]
        (few / "gt_sets").mkdir(parents=True, exist_ok=True)
        (few / f"gt_sets/{split}.txt").write_text("\n".join(ids))
        for image_id in ids:
            for name in (f"images/{image_id}.jpg", f"depth/{image_id}.png", f"segmentation/{image_id}.png"):
                (few / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(source / name, few / name)
    done = import_set(project, "nyud", few, track=False)
    assert done.lock["packaging"] == "NYUD_MT 240x320"
    assert [warning.split(",")[0] for warning in done.findings.warnings] == [
        "split 'train' has 6 images", "split 'val' has 4 images",
    ]  # fmt: skip
    summary = statistics(done.findings, open_layout("nyud", done.folder))
    assert 1 < summary["depth"]["quantile_50"] < 4
    assert summary["normals"]["up"] > summary["normals"]["down"]  # floors are seen more than ceilings


@pytest.mark.realdata
@pytest.mark.slow
def test_real_pascal_frames_are_imported(project: Project, real_data: Path):
    done = import_set(project, "pascal", real_data / "pascal_person_60", track=False)
    assert done.lock["counts"] == {"train": 30, "val": 30}
    shares = statistics(done.findings, open_layout("pascal", done.folder))["human_parts"]["shares"]
    assert len(shares) == 7 and min(shares) > 0.001
