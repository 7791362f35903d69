"""`mtcp why`: the state of a run in words."""

import fcntl

from made_up_store import Store

from mtcp.analysis.verification import explain
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
