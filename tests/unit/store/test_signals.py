"""Signals that ask to stop: heard at the next step, never a lost state."""

import os
import pty
import signal
import sys
from pathlib import Path

import pytest

from mtcp.store.signals import stop_on_signal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_asks_to_stop_and_its_old_meaning_comes_back(number: int, capfd) -> None:
    before = signal.getsignal(number)
    with stop_on_signal() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
    assert signal.getsignal(number) is before
    assert "the state will be saved" in capfd.readouterr().err


def test_a_second_interrupt_stops_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), stop_on_signal():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_under_nohup_a_hangup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signal() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


WORK = """
import sys, time
from pathlib import Path
from mtcp.store.signals import stop_on_signal
with stop_on_signal() as stop:
    while not stop():
        print("step", flush=True)
        time.sleep(0.01)
    for _ in range(100):
        print("a line to a terminal that is gone", flush=True)
        print("and an error", file=sys.stderr, flush=True)
    Path(sys.argv[1]).write_text("saved")
"""


def test_a_terminal_that_goes_takes_nothing_with_it(tmp_path: Path) -> None:
    """A real terminal, hung up as a dropped connection does: the process hears it, goes on writing, and saves."""
    saved = tmp_path / "state"
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", WORK, str(saved)])
    assert os.read(terminal, 4)
    os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0
    assert saved.read_text() == "saved"
