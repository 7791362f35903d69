"""Workers of a killed process end, too."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Tells its workers' ids, then waits in the middle of its work.
POOL = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from mtcp.core.processes import end_with_parent

if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=get_context("{method}"), initializer=end_with_parent) as pool:
        done = [pool.submit(os.getpid) for _ in range(20)]
        print(*(future.result() for future in done), flush=True)
        time.sleep(600)
"""


def alive(process: int) -> bool:
    """Whether a process exists and is not merely waiting to be collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_end_with_a_killed_parent(tmp_path: Path, method: str) -> None:
    script = tmp_path / "pool.py"
    script.write_text(POOL.format(method=method))
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    workers = {int(word) for word in parent.stdout.readline().split()}
    assert workers and all(map(alive, workers))
    parent.kill()
    assert parent.wait() == -signal.SIGKILL
    deadline = time.monotonic() + 30
    try:
        while any(map(alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(map(alive, workers))
    finally:
        for worker in filter(alive, workers):
            os.kill(worker, signal.SIGKILL)
