"""`mtcp why`: the state of a run in words."""

import fcntl

import pytest
from made_up_store import Store

from mtcp.analysis.verification import explain
from mtcp.core.errors import UserError
from mtcp.core.files import write_text
from mtcp.core.project_files import LOCK


def test_a_failed_and_a_running_run_are_called_so(store: Store) -> None:
    run = store.plan.run("rooms", "mtcp", 0)
    write_text(run.failure_path, "OSError: disk full\nmore\n")
    (told,) = explain(store.plan, run)
    assert told.startswith("rooms/mtcp/seed0 failed") and told.endswith(": OSError: disk full")
    with (run.directory / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "seed0 is running" in "".join(explain(store.plan, run))


def test_another_seed_is_no_reason_and_a_damaged_or_missing_record_is_one(store: Store) -> None:
    run, other = (store.plan.run("rooms", "mtcp", seed) for seed in (0, 1))
    store.write(other)
    assert list(explain(store.plan, run)) == ["rooms/mtcp/seed0 has never been trained here"]
    store.write(run)
    assert "is done" in next(explain(store.plan, run))
    whole = run.run_path.read_text()
    write_text(run.run_path, whole[:200])
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        list(explain(store.plan, run))
    run.run_path.unlink()
    assert list(explain(store.plan, run)) == [
        "rooms/mtcp/seed0 has metrics but no run.json, which was removed: it is trained again"
    ]
