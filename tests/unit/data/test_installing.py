"""A set takes its place whole with its records, or all is as before; also where data or a set is a symbolic link."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mtcp.core.errors import UserError
from mtcp.core.files import read_json
from mtcp.core.project import Project
from mtcp.data.preparation import importing, installing, sets
from mtcp.data.preparation.contents import content_digest
from mtcp.data.preparation.importing import import_set


def changed(nyud: Path) -> Path:
    """The set with another depth in one frame."""
    np.save(nyud / "depth/0001.npy", np.load(nyud / "depth/0001.npy") + np.float32(0.5))
    return nyud


def state(project: Project) -> tuple[str, bytes, list[str]]:
    """What must come back: the content, the lock file, and the names in data/."""
    data = project.root / "data"
    names = sorted(path.name for path in data.iterdir() if not path.name.endswith(".installing"))
    return content_digest(data / "nyud"), (data / "nyud.lock.json").read_bytes(), names


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_set_has_the_rights_that_the_user_gives_new_folders(project: Project, nyud: Path, umask: int):
    earlier = os.umask(umask)
    try:
        import_set(project, "nyud", nyud, track=False)
    finally:
        os.umask(earlier)
    assert (project.root / "data/nyud").stat().st_mode & 0o777 == 0o777 & ~umask


@pytest.mark.parametrize("where", ["dvc add", "lock file", "interrupted"])
def test_what_fails_after_the_swap_brings_the_earlier_set_back(project: Project, nyud: Path, monkeypatch, where: str):
    import_set(project, "nyud", nyud, track=False)
    before = state(project)

    def dvc(root: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        if command == "add":
            (project.root / "data/nyud.dvc").write_text("outs: new")
        failed = command == "add" and where == "dvc add"
        return subprocess.CompletedProcess([], int(failed), "", "ERROR: no space" if failed else "")

    def write(path: Path, content: object) -> None:
        raise OSError(28, os.strerror(28)) if where == "lock file" else KeyboardInterrupt

    monkeypatch.setattr(importing, "dvc", dvc)
    if where != "dvc add":
        monkeypatch.setattr(importing, "write_json", write)
    with pytest.raises((UserError, KeyboardInterrupt)):
        import_set(project, "nyud", changed(nyud), track=True)
    assert state(project) == before
    monkeypatch.undo()
    assert import_set(project, "nyud", nyud, track=False).lock["digest"] != before[0]


def test_what_dvc_cannot_do_is_said_before_any_work(project: Project, nyud: Path, monkeypatch):
    monkeypatch.setattr(importing, "_place", lambda *arguments: pytest.fail("work began"))
    with pytest.raises(UserError, match=r"DVC cannot track data/nyud .*import with --no-dvc"):
        import_set(project, "nyud", nyud, track=True)  # no DVC repository
    (project.root / "data").mkdir()
    (project.root / "data/nyud").symlink_to(nyud)
    with pytest.raises(UserError, match="data/nyud is a symbolic link, behind which DVC tracks nothing"):
        import_set(project, "nyud", nyud, track=True)


@pytest.mark.parametrize("moment", ["before the records", "after the records"])
def test_a_process_killed_after_the_swap(project: Project, nyud: Path, moment: str):
    """The lock file is written last: without it the earlier set and its .dvc file come back, with it the new stays."""
    first = import_set(project, "nyud", nyud, track=False).lock["digest"]
    (project.root / "data/nyud.dvc").write_text("outs: [{md5: old}]")
    lock = project.root / "data/nyud.lock.json"
    script = f"""
import os, sys
from pathlib import Path
from mtcp.core.project import Project
from mtcp.data.preparation import importing
write = importing.write_json
def dying(path, content):
    (path.parent / "nyud.dvc").write_text("outs: [{{md5: new}}]")
    if {moment == "after the records"}:
        write(path, content)
    os.kill(os.getpid(), 9)
importing.write_json = dying
importing.require_trackable = lambda *arguments: None
importing.dvc = lambda *arguments: type("Done", (), {{"returncode": 0}})
importing.import_set(Project(Path.cwd()), "nyud", Path({str(changed(nyud))!r}), track=True)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=project.root, check=False, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert (project.root / "data/.nyud-swap").exists()
    installing.recover(project, "nyud")
    assert not (project.root / "data/.nyud-swap").exists()
    assert content_digest(project.root / "data/nyud") == read_json(lock)["digest"]
    kept = moment == "before the records"
    assert (read_json(lock)["digest"] == first) == kept
    assert ("old" in (project.root / "data/nyud.dvc").read_text()) == kept


@pytest.fixture
def elsewhere(tmp_path: Path):
    """A folder on another file system, where there is one."""
    shared = Path("/dev/shm")
    folder = shared / f"mtcp-{os.getpid()}" if os.access(shared, os.W_OK) else tmp_path / "elsewhere"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("linked", ["data", "data/nyud", "data/nyud, not there yet"])
def test_links_to_a_large_disk(project: Project, nyud: Path, elsewhere: Path, linked: str):
    if linked == "data":
        (project.root / "data").symlink_to(elsewhere)
    else:
        (project.root / "data").mkdir()
        (project.root / "data/nyud").symlink_to(elsewhere / "set")
        if "not" not in linked:
            (elsewhere / "set").mkdir()
    first = import_set(project, "nyud", nyud, track=False).lock["digest"]
    second = import_set(project, "nyud", changed(nyud), track=False).lock["digest"]
    assert first != second == content_digest(project.root / "data/nyud")
    assert (project.root / linked.split(",")[0]).is_symlink()
    assert sets.prepare(project, "nyud").exists() and sets.require_checked(project, "nyud")["content"] == second
    assert not [path for path in elsewhere.rglob("*") if "-new" in path.name or "-swap" in path.name]


def test_a_link_to_nowhere_is_said_before_any_work(project: Project, nyud: Path, tmp_path: Path):
    (project.root / "data").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"data is a symbolic link to .*gone, which is not a folder"):
        import_set(project, "nyud", nyud, track=False)
    (project.root / "data").unlink()
    (project.root / "data").mkdir()
    (project.root / "data/nyud").symlink_to(tmp_path / "gone/deep")
    with pytest.raises(UserError, match="whose folder does not exist"):
        import_set(project, "nyud", nyud, track=False)


@pytest.mark.parametrize("in_one_step", [True, False])
def test_two_folders_change_names(tmp_path: Path, monkeypatch, in_one_step: bool):
    if not in_one_step:
        monkeypatch.setattr(installing.ctypes, "CDLL", lambda *arguments, **options: object())
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    installing.exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a/b").exists() and (tmp_path / "b/a").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
