"""Files that are used only with the bytes that were written, and locks."""

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from mtcp.core.errors import UserError
from mtcp.store.integrity import changed, digests, require_stamped, require_unchanged, stamped_problems, stamping
from mtcp.store.runs import locked


def test_changed_and_missing_files_are_named(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths:
        path.write_text(path.name)
    written = digests(tmp_path, paths)
    assert list(changed(tmp_path, written)) == []
    paths[0].write_text("A")
    paths[2].unlink()
    first, second = changed(tmp_path, written)
    assert first == f"{paths[0]} is not the file that was written there (SHA-256 differs)"
    assert second == f"{paths[2]} is missing"
    with pytest.raises(UserError, match=r"a is not the file .*: do this"):
        require_unchanged(tmp_path, written, "do this")


def test_one_stamp_lies_there_and_a_partial_one_is_nobodys(tmp_path: Path) -> None:
    table, old, new = tmp_path / "t.csv", tmp_path / "grid-1.stamp", tmp_path / "grid-2.stamp"
    for stamp in (old, new):
        with stamping(stamp) as paths:
            assert not list(tmp_path.glob("*.stamp")), "no stamp lies there while files are written"
            table.write_text(stamp.name)
            paths.append(table)
    assert list(tmp_path.glob("*.stamp")) == [new]
    assert stamped_problems(new) == []
    with stamping(old, complete=False) as paths:
        paths.append(table)
    assert [path.name for path in tmp_path.glob("*.stamp")] == ["grid-partial-1.stamp"]


def test_a_failed_write_leaves_no_stamp(tmp_path: Path) -> None:
    with pytest.raises(UserError), stamping(tmp_path / "grid-1.stamp"):
        raise UserError("no")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrote", [False, True])
def test_a_refused_command_leaves_the_stamp_of_what_is_still_there(tmp_path: Path, wrote: bool) -> None:
    table, stamp = tmp_path / "t.csv", tmp_path / "grid-1.stamp"
    with stamping(stamp) as paths:
        table.write_text("1.5")
        paths.append(table)
    with pytest.raises(UserError, match="a run is missing"), stamping(tmp_path / "grid-2.stamp"):
        if wrote:
            table.write_text("1.6")
        raise UserError("a run is missing")
    assert [path.name for path in tmp_path.glob("*.stamp")] == ([] if wrote else ["grid-1.stamp"])
    assert wrote or stamped_problems(stamp) == []


def test_a_missing_table_is_work_and_a_changed_one_a_fault(tmp_path: Path) -> None:
    table, stamp = tmp_path / "t.csv", tmp_path / "grid-1.stamp"
    with stamping(stamp) as paths:
        table.write_text("1.5")
        paths.append(table)
    table.write_text("1.4")
    with pytest.raises(UserError, match=r"t\.csv is not the file"):
        require_stamped(stamp)
    table.unlink()
    require_stamped(stamp)
    assert stamped_problems(stamp) == [f"{table} is missing"]


def test_a_look_at_a_lock_refuses_nobody(tmp_path: Path) -> None:
    """`mtcp plan` holds the lock for a moment; a training that starts just then waits for it."""
    handle = os.open(tmp_path / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_SH)
    threading.Timer(0.2, os.close, [handle]).start()
    with locked(tmp_path):
        pass


def test_a_held_lock_names_its_holder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UserError, match=f"in use by process {os.getpid()} on "), locked(tmp_path):
        pass


def test_a_directory_removed_while_its_lock_was_awaited_is_not_written(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    lock = directory / ".lock"
    handle = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)

    def remove() -> None:
        time.sleep(0.2)
        lock.unlink()
        directory.rmdir()
        os.close(handle)

    thread = threading.Thread(target=remove)
    thread.start()
    with pytest.raises(UserError, match="was removed by another process"), locked(directory):
        pass
    thread.join()
