"""Rendered sets, their locks and manifests; DVC between two clones; downloads from a local server."""

import http.server
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from mtcp.cli.data import app
from mtcp.core.errors import UserError
from mtcp.core.files import read_json, write_json
from mtcp.core.project import Project
from mtcp.data.formats import packaging
from mtcp.data.formats.opening import open_layout
from mtcp.data.locks import data_digest, manifest_path
from mtcp.data.preparation import importing, sets
from mtcp.data.preparation.contents import content_digest
from mtcp.data.preparation.fetching import fetch_set
from mtcp.data.preparation.importing import import_set
from mtcp.data.preparation.installing import alone, place_of
from mtcp.data.preparation.target_sheet import colour, sheet


@pytest.mark.parametrize("name", ["rooms", "people"])
def test_a_rendered_set_is_read_like_a_real_one(project: Project, name: str):
    folder = sets.render(project, name)
    benchmark = project.benchmark(name)
    layout = open_layout(benchmark.layout, folder)
    assert (len(layout.ids("train")), len(layout.ids("val"))) == (3, 2)
    for task in benchmark.tasks:
        target = layout.target(task, "0001")
        assert target.shape[:2] == layout.image("0001").shape[:2] == (24, 32)
    normals = layout.target("normals", "0001")
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-2)
    assert read_json(project.root / f"data/{name}.lock.json")["digest"] == content_digest(folder)


def test_preparing_renders_once_and_again_when_settings_change(project: Project):
    first = sets.prepare(project, "rooms")
    record = read_json(first)
    assert record["digest"] == data_digest(project, "rooms") and record["counts"] == {"train": 3, "val": 2}
    stamp = (project.root / "data/rooms/packaging.json").stat().st_mtime_ns
    assert sets.prepare(project, "rooms") == first
    assert (project.root / "data/rooms/packaging.json").stat().st_mtime_ns == stamp
    _change(project, "rooms", seed=1)
    second = sets.prepare(Project(project.root), "rooms")  # a project reads a benchmark once
    assert second != first and not first.exists()
    assert read_json(second)["content"] != record["content"]


def test_another_process_may_remove_an_older_manifest_first(project: Project, monkeypatch: pytest.MonkeyPatch):
    listed = Path.glob
    gone = sets.prepare(project, "rooms").with_name("rooms-0000000000000000.json")
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [*listed(self, pattern), gone])
    assert sets.prepare(project, "rooms").exists()


def _change(project: Project, name: str, **rendered: object) -> None:
    path = project.root / f"config/benchmarks/{name}.yaml"
    content = yaml.safe_load(path.read_text())
    content["rendered"].update(rendered)
    path.write_text(yaml.safe_dump(content))


def test_rendering_twice_gives_the_same_bytes(project: Project):
    first = content_digest(sets.render(project, "people"))
    assert content_digest(sets.render(project, "people")) == first


def test_a_rendered_set_that_differs_from_its_lock_is_a_recorded_warning(project: Project, capsys):
    sets.render(project, "rooms")
    path = project.root / "data/rooms.lock.json"
    lock = read_json(path)
    write_json(path, {**lock, "digest": "0" * 64})
    note = read_json(sets.prepare(project, "rooms"))["note"]
    assert "this machine rounds differently" in note and note in capsys.readouterr().err
    write_json(path, {**lock, "inputs": "0" * 64})
    assert "other settings" in read_json(sets.prepare(project, "rooms"))["note"]


def test_a_rendered_set_and_its_lock_are_told_apart_from_damage(project: Project):
    sets.render(project, "rooms")
    assert (sets.recorded_content(project, "rooms"), sets.stale_lock(project, "rooms")) == ([], "")
    _change(project, "rooms", seed=1)
    changed = Project(project.root)
    (problem,) = sets.recorded_content(changed, "rooms")
    assert problem.endswith("an earlier renderer: `mtcp data prepare rooms` makes it again")
    sets.prepare(changed, "rooms")
    assert sets.recorded_content(changed, "rooms") == []
    assert sets.stale_lock(changed, "rooms").endswith("`mtcp data render rooms` renews it")
    (project.root / "data/rooms/stray.txt").touch()
    assert "stray.txt" in sets.recorded_content(changed, "rooms")[0]
    sets.render(changed, "rooms")
    assert (sets.recorded_content(changed, "rooms"), sets.stale_lock(changed, "rooms")) == ([], "")


def test_a_changed_file_of_a_rendered_set_is_named_and_its_own_classes_are_none_too_few(project: Project):
    content = yaml.safe_load((project.root / "config/benchmarks/rooms.yaml").read_text())
    content["tasks"]["semseg"]["classes"], content["rendered"]["train"] = 13, 20
    (project.root / "config/benchmarks/rooms.yaml").write_text(yaml.safe_dump(content))
    manifest = sets.prepare(project := Project(project.root), "rooms")
    path = next((project.root / "data/rooms/images").iterdir())
    later = manifest.stat().st_mtime_ns + 10**9
    path.write_bytes(path.read_bytes() + b"0")
    os.utime(path, ns=(later, later))
    with pytest.raises(UserError, match=rf"was changed since it was checked \(written since: images/{path.name}\)"):
        sets.require_checked(project, "rooms")


def test_an_imported_set_that_differs_from_its_lock_is_an_error(project: Project, nyud: Path):
    import_set(project, "nyud", nyud, track=False)
    np.save(project.root / "data/nyud/depth/0001.npy", np.ones((24, 32), np.float32))
    with pytest.raises(UserError, match=r"data/nyud is not what data/nyud.lock.json records"):
        sets.prepare(project, "nyud")
    # A digest of renderer and settings in its lock makes it no rendered set, whose lock may be stale.
    lock = project.root / "data/nyud.lock.json"
    write_json(lock, {**read_json(lock), "inputs": "0" * 64})
    with pytest.raises(UserError, match=r"data/nyud is not what data/nyud.lock.json records"):
        sets.prepare(project, "nyud")
    assert sets.stale_lock(project, "nyud") == "" and "files were changed" in sets.recorded_content(project, "nyud")[0]


def test_without_data_the_two_commands_are_named(project: Project):
    for action in (sets.prepare, sets.open_set):
        with pytest.raises(UserError, match=r"mtcp data import nyud PATH.*mtcp data fetch nyud --url URL"):
            action(project, "nyud")
    with pytest.raises(UserError, match="mtcp data render rooms"):
        sets.open_set(project, "rooms")
    (project.root / "config/benchmarks/nyud_240.yaml").write_text("extends: nyud\nlabel: x\ndata: nyud\n")
    with pytest.raises(
        UserError, match=r"no benchmark uses a data set 'elsewhere' \(known: nyud, pascal, people, rooms\)"
    ):
        sets.prepare(project, "elsewhere")
    with pytest.raises(UserError, match="'nyud' is not rendered"):
        sets.render(project, "nyud")


@pytest.mark.parametrize(
    ("rendered", "key"),
    [({"preset": "caves"}, "rendered.preset"), ({"train": 0}, "rendered.train"), ({"colour": 1}, "rendered.colour")],
)
def test_wrong_renderer_settings_are_named_before_anything_is_rendered(project: Project, rendered: dict, key: str):
    path = project.benchmark_path("rooms")
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, "rendered": {**content["rendered"], **rendered}}))
    with pytest.raises(UserError, match=rf"rooms\.yaml, line \d+, key '{key}'"):
        Project(project.root).benchmark("rooms")


def test_a_benchmark_that_shares_a_rendered_set_has_the_same_manifest(project: Project):
    """Another task list is no other set: what `prepare` leaves is what the plan of both waits for."""
    content = yaml.safe_load((project.root / "config/benchmarks/rooms.yaml").read_text())
    content |= {"data": "rooms", "tasks": {"depth": {}}}
    (project.root / "config/benchmarks/another.yaml").write_text(yaml.safe_dump(content))
    project = Project(project.root)
    assert sets.prepare(project, "another") == manifest_path(project, "another") == manifest_path(project, "rooms")


class TestCommands:
    @pytest.fixture(autouse=True)
    def inside(self, project: Project, monkeypatch):
        monkeypatch.chdir(project.root)

    def run(self, *arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output

    def test_import_verify_list_show(self, project: Project, nyud: Path):
        assert "imported 4 + 2 images" in self.run("import", "nyud", str(nyud))
        assert "data/nyud is in order" in self.run("verify", "nyud")
        assert '"quantile_50"' in self.run("verify", "nyud", "--json")
        rows = yaml.safe_load(self.run("list", "--json"))
        assert {row["set"]: row["here"] for row in rows} == {
            "nyud": True, "pascal": False, "people": False, "rooms": False,
        }  # fmt: skip
        assert "wrote results/sheets/nyud-test.png" in self.run("show", "nyud", "--split", "test")
        from PIL import Image

        width, height = Image.open("results/sheets/nyud-test.png").size
        assert width % 5 == 0 and width >= 32 * 5 and 24 * 2 < height < 24 * 3, "five columns under their titles"

    def test_a_benchmark_stands_for_its_data(self, project: Project, nyud: Path):
        """Another benchmark on a set's data: its name makes no set of its own."""
        for name, data in (("nyud_240", "nyud"), ("schemes", "rooms")):
            path = project.root / f"config/benchmarks/{data}.yaml"
            content = yaml.safe_load(path.read_text())
            path.with_stem(name).write_text(yaml.safe_dump({**content, "data": data}))
        assert "imported 4 + 2 images" in self.run("import", "nyud_240", str(nyud))
        assert "data/nyud is in order" in self.run("verify", "nyud_240")
        self.run("render", "schemes")
        self.run("prepare", "schemes")
        assert {path.name for path in (project.root / "data").glob("[a-z]*")} == {
            "nyud", "nyud.lock.json", "rooms", "rooms.lock.json",
        }  # fmt: skip
        with pytest.raises(UserError, match="no benchmark uses a data set 'absent'"):
            self.run("verify", "absent")

    def test_a_set_that_no_benchmark_uses_is_verified(self, nyud: Path):
        self.run("import", "nyud_mine", str(nyud))
        assert "data/nyud_mine is in order" in self.run("verify", "nyud_mine")

    def test_show_refuses_what_is_not_there(self, nyud: Path):
        self.run("import", "nyud", str(nyud))
        with pytest.raises(UserError, match="not one of the 4 in nyud's train split, such as 0001"):
            self.run("show", "nyud", "--image", "0005")
        refused = CliRunner().invoke(app, ["show", "nyud", "--split", "val"])
        assert refused.exit_code == 2
        assert "Invalid value for '--split'" in refused.output

    def test_verify_tells_a_changed_file(self, project: Project, nyud: Path):
        self.run("import", "nyud", str(nyud))
        (project.root / "data/nyud/extra.txt").write_text("x")
        with pytest.raises(UserError, match="files were changed, added or removed"):
            self.run("verify", "nyud")
        said = CliRunner().invoke(app, ["verify", "nyud", "--json"])
        assert said.exit_code == 2
        assert any("extra.txt" in problem for problem in json.loads(said.stdout)["problems"])


def test_a_sheet_has_a_column_with_a_title_for_every_target(project: Project, nyud: Path):
    layout = open_layout("nyud", import_set(project, "nyud", nyud, track=False).folder)
    picture = np.asarray(sheet(layout, ["0001", "0002"], ["depth", "normals"]))
    line, width = picture.shape[0] - 2 * 24, picture.shape[1] // 3
    assert all(picture[:line, k * width : (k + 1) * width].max() == 255 for k in range(3)), "white letters"
    for row, image_id in enumerate(("0001", "0002")):
        top = line + row * 24
        np.testing.assert_array_equal(picture[top : top + 24, :32], layout.image(image_id))
        drawn = colour("normals", layout.target("normals", image_id))
        np.testing.assert_array_equal(picture[top : top + 24, 2 * width : 2 * width + 32], drawn)


def test_normals_have_the_usual_colours():
    up = np.zeros((1, 2, 3), np.float32)
    up[0, 0, 1] = -1  # y points down
    up[0, 1] = 255
    assert colour("normals", up).tolist() == [[[127, 255, 127], [60, 60, 60]]]


@pytest.mark.parametrize(
    ("kind", "values", "grey"),
    [
        ("depth", [1.0, 4.0, 255], [191, 0, 60]),  # near is light
        ("regression", [-3.0, 1.0, 255], [0, 255, 60]),
        ("regression", [255, 255, 255], [60, 60, 60]),
        ("sal", [0, 1, 255], [0, 255, 60]),
    ],
)
def test_targets_are_shades_of_grey_and_void_a_darker_one(kind, values, grey):
    assert colour(kind, np.array([values], np.float32)).tolist() == [[[shade] * 3 for shade in grey]]


def test_void_of_labels_is_grey_and_no_class():
    shown = colour("semseg", np.array([[0, 255]], np.uint8))
    assert shown[0, 1].tolist() == [60] * 3 != shown[0, 0].tolist()


def dvc(root: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, check=True, capture_output=True)


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(project: Project, root: Path) -> Project:
    """The project as a git and DVC repository that ignores data as ours does, with the lock of a set not here yet."""
    git(project.root, "init", "-q")
    dvc(project.root, "init", "-q")
    dvc(project.root, "config", "core.analytics", "false")
    shutil.copy(root / ".gitignore", project.root)
    write_json(project.root / "data/nyud.lock.json", {"schema": 1, "name": "nyud", "digest": None})
    return project


@pytest.mark.slow
def test_dvc_moves_a_set_to_a_second_clone(repository: Project, nyud: Path, tmp_path: Path):
    import_set(repository, "nyud", nyud, track=True)
    root = repository.root
    tracked = yaml.safe_load((root / "data/nyud.dvc").read_text())["outs"][0]["md5"]
    assert data_digest(repository, "nyud") == tracked
    dvc(root, "remote", "add", "-d", "store", str(tmp_path / "store"))
    git(root, "add", "-A")
    git(root, "commit", "-qm", "data")
    dvc(root, "push", "-q")
    git(tmp_path, "clone", "-q", str(root), "second")
    second = Project(tmp_path / "second")
    assert not (second.root / "data/nyud").exists()
    with pytest.raises(UserError, match=r"data/nyud is not here yet: `mtcp data prepare nyud` pulls it"):
        sets.open_set(second, "nyud")
    manifest = sets.prepare(second, "nyud")
    assert read_json(manifest)["digest"] == tracked
    assert content_digest(second.root / "data/nyud") == content_digest(root / "data/nyud")
    shutil.rmtree(second.root / "data/nyud")
    shutil.rmtree(second.root / ".dvc/cache")
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(UserError, match=r"`dvc pull data/nyud\.dvc` failed"):
        sets.prepare(second, "nyud")


@pytest.mark.slow
def test_data_and_their_dvc_file_never_disagree(repository: Project, nyud: Path, monkeypatch):
    """The digest in the .dvc file is in the keys of runs: it must be that of the images which lie there."""
    before = import_set(repository, "nyud", nyud, track=True)
    tracked = data_digest(repository, "nyud")
    (nyud / "gt_sets/val.txt").write_text("0005\n")
    with pytest.raises(UserError, match=r"data/nyud\.dvc tracks the set that lies here"):
        import_set(repository, "nyud", nyud, track=False)
    failed = subprocess.CompletedProcess([], 255, "", "ERROR: no space")
    monkeypatch.setattr(importing, "dvc", lambda root, *words: failed if words[0] == "add" else sets.dvc(root, *words))
    with pytest.raises(UserError, match=r"`dvc add data/nyud` failed \(no space\)"):
        import_set(repository, "nyud", nyud, track=True)
    assert data_digest(repository, "nyud") == tracked
    assert read_json(sets.prepare(repository, "nyud"))["content"] == before.lock["digest"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address and folder of an HTTP server on this machine; of a file named cut... it sends half of what it says."""
    folder = tmp_path / "www"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, directory=str(folder), **options)

        def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:
            content = source.read()
            outputfile.write(content[: len(content) // 2] if "/cut" in self.path else content)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()


@pytest.mark.slow
def test_fetch_from_a_server(repository: Project, nyud: Path, server: tuple[str, Path]):
    address, folder = server
    with tarfile.open(folder / "NYUD_MT.tgz", "w:gz") as archive:
        archive.add(nyud, "NYUD_MT")
    done = fetch_set(repository, "nyud", f"{address}/NYUD_MT.tgz", track=True)
    assert done.lock["source"]["url"] == f"{address}/NYUD_MT.tgz"
    assert (repository.root / "data/nyud-source.tgz.dvc").exists() and (repository.root / "data/nyud.dvc").exists()

    # The same address, another file: refused, and what was downloaded and imported stays.
    downloaded = [repository.root / f"data/nyud-source.tgz{ending}" for ending in ("", ".dvc")]
    earlier = [path.read_bytes() for path in downloaded]
    (nyud / "gt_sets/val.txt").write_text("0005\n")
    with tarfile.open(folder / "NYUD_MT.tgz", "w:gz") as archive:
        archive.add(nyud, "NYUD_MT")
    with pytest.raises(UserError, match=r"it was changed; remove data/nyud.lock.json to take the new one"):
        fetch_set(repository, "nyud", f"{address}/NYUD_MT.tgz", track=True)
    assert content_digest(repository.root / "data/nyud") == done.lock["digest"]
    assert [path.read_bytes() for path in downloaded] == earlier
    assert not list((repository.root / "data").glob(".nyud-source*"))
    (repository.root / "data/nyud.lock.json").unlink()
    assert fetch_set(repository, "nyud", f"{address}/NYUD_MT.tgz", track=True).lock["counts"]["val"] == 1


@pytest.mark.slow
def test_a_killed_download_loses_nothing(repository: Project, nyud: Path, server: tuple[str, Path]):
    address, folder = server
    with tarfile.open(folder / "NYUD_MT.tgz", "w:gz") as archive:
        archive.add(nyud, "NYUD_MT")
    fetch_set(repository, "nyud", f"{address}/NYUD_MT.tgz", track=False)
    downloaded = [repository.root / f"data/nyud-source.tgz{ending}" for ending in ("", ".dvc")]
    earlier = [path.read_bytes() for path in downloaded]
    slow = repository.root / "slow.py"
    slow.write_text(
        "import sys, time\nfrom pathlib import Path\nfrom mtcp.core.project import Project\n"
        "from mtcp.data.preparation import fetching\n"
        "def dvc(root, *_):\n"
        "    (root / 'data/nyud-source.tgz').write_text('half')\n"
        "    print('downloads', flush=True)\n    time.sleep(60)\n"
        "fetching.dvc = dvc\nfetching.fetch_set(Project(Path(sys.argv[1])), 'nyud', sys.argv[2])\n"
    )
    command = [sys.executable, str(slow), str(repository.root), f"{address}/NYUD_MT.tgz"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "downloads\n"
        process.kill()
    assert downloaded[0].read_text() == "half"
    with pytest.raises(UserError, match="failed"):
        fetch_set(repository, "nyud", f"{address}/absent.tgz", track=False)
    assert [path.read_bytes() for path in downloaded] == earlier
    assert not list((repository.root / "data").glob(".nyud-source*"))


@pytest.mark.parametrize("aside", [[], [""], ["", ".dvc"]], ids=["nothing", "archive", "both"])
def test_a_kill_between_two_steps_of_a_download_loses_nothing(project: Project, monkeypatch, aside: list[str]):
    """A process was killed while it put the earlier archive and its DVC file aside."""
    (project.root / ".dvc").mkdir()
    data = project.root / "data"
    (data / ".nyud-source.tgz-earlier").mkdir(parents=True)
    earlier = {f"nyud-source.tgz{ending}": f"earlier{ending}" for ending in ("", ".dvc")}
    for name, text in earlier.items():
        place = data / ".nyud-source.tgz-earlier" if name.removeprefix("nyud-source.tgz") in aside else data
        (place / name).write_text(text)
    refused = subprocess.CompletedProcess([], 1, "", "no such host")
    monkeypatch.setattr("mtcp.data.preparation.fetching.dvc", lambda *_: refused)
    with pytest.raises(UserError, match="failed"):
        fetch_set(project, "nyud", "https://host/NYUD_MT.tgz", track=False)
    assert {path.name: path.read_text() for path in data.glob("*source*")} == earlier
    assert not list(data.glob(".nyud-source*"))


def test_one_set_is_downloaded_by_one_process(project: Project):
    (project.root / ".dvc").mkdir()
    with alone(place_of(project, "nyud")), pytest.raises(UserError, match="another process is writing data/nyud"):
        fetch_set(project, "nyud", "https://host/NYUD_MT.tgz", track=False)


@pytest.mark.slow
def test_fetch_of_what_is_no_data_set(repository: Project, nyud: Path, server: tuple[str, Path]):
    address, folder = server
    with pytest.raises(UserError, match=r"dvc import-url .*failed"):
        fetch_set(repository, "nyud", f"{address}/absent.tgz", track=False)
    with tarfile.open(folder / "whole.tgz", "w:gz") as archive:
        archive.add(nyud, "NYUD_MT")
    shutil.copy(folder / "whole.tgz", folder / "cut.tgz")
    with pytest.raises(UserError, match=r"dvc import-url .*failed .*payload is not completed"):
        fetch_set(repository, "nyud", f"{address}/cut.tgz", track=False)
    assert not list((repository.root / "data").glob("nyud-source*"))
    whole = (folder / "whole.tgz").read_bytes()
    (folder / "truncated.tgz").write_bytes(whole[: len(whole) // 2])
    (folder / "page.zip").write_text("<html>Quota exceeded</html>")
    for name in ("truncated.tgz", "page.zip"):
        with pytest.raises(UserError, match="broken or truncated archive"):
            fetch_set(repository, "nyud", f"{address}/{name}", track=False)
    assert not (repository.root / "data/nyud").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/NYUD_MT.tgz", r"expected http\(s\)"),
        ("https://drive.google.com/uc?id=1", "download by hand, then `mtcp data import nyud FILE`"),
        ("https://host/page.html", "names no archive"),
    ],
)
def test_addresses_that_cannot_work(project: Project, url: str, words: str):
    (project.root / ".dvc").mkdir()
    with pytest.raises(UserError, match=words):
        fetch_set(project, "nyud", url, track=False)


def test_fetching_needs_dvc(project: Project):
    with pytest.raises(UserError, match="is not a DVC repository"):
        fetch_set(project, "nyud", "https://host/NYUD_MT.tgz", track=False)


def test_packaging_of_a_rendered_set_names_camera_and_classes(project: Project):
    record = packaging.read(sets.render(project, "rooms"))
    assert record["camera"]["fx"] == pytest.approx(0.81 * 32) and len(record["classes"]) == 13
    assert record["normals"] == {"source": "rendered", "z": "away"}
