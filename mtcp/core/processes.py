"""Worker processes that end with the process they work for."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Initializer of a pool: end this worker when its parent is killed.

    Without it the worker waits for work for ever, with its memory and, where it was forked, the parent's locks.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
