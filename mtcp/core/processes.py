"""Worker processes that end with their parent."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Pool initializer: end this worker when its parent is killed.

    Otherwise the worker would wait for work for ever, holding its memory and, if it was forked, the parent's locks.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
