"""Signals that ask a training to stop at its next step, where its state can be saved."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGTERM, SIGINT or SIGHUP was received; a later SIGINT stops at once.

    SIGHUP means that the terminal is gone, for example after a lost connection. Terminal output is then discarded,
    because writing it would fail in the middle of a step. Under `nohup`, SIGHUP stays ignored.
    """
    asked: list[int] = []
    terminals = [stream.fileno() for stream in (sys.__stdout__, sys.__stderr__) if stream and stream.isatty()]

    def ask(number: int, _frame: object) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)
        if number == signal.SIGHUP:
            _write_nowhere(terminals)
        with contextlib.suppress(OSError):
            print("stopping after this step; the state will be saved", file=sys.stderr, flush=True)

    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    heard = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, ask) for number in heard}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _write_nowhere(handles: list[int]) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for handle in handles:
        os.dup2(nowhere, handle)
    os.close(nowhere)
