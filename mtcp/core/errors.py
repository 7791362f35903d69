"""The exception that users see as a sentence instead of a traceback, and helpers for its messages."""

import errno
from collections.abc import Collection
from typing import Final

#: At most this many known names are listed in a message that already suggests a close one.
_FEW: Final = 12
#: What a user can do where the system refuses a file, by error number.
REMEDIES: Final = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free space"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "give yourself permission to it"),
    **dict.fromkeys(
        (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
        "a file, folder or link of that name stands in the way: move it",
    ),
    errno.EFBIG: "raise the limit on a file's size (ulimit -f)",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.EIO: "check the disk",
}


def refusal(error: OSError) -> str:
    """Return what the system said, and what the user can do about it."""
    remedy = REMEDIES.get(error.errno or 0)
    return f"{error.strerror or error}" + (f"; {remedy}" if remedy else "")


class UserError(Exception):
    """A user's mistake, or an input that cannot be used.

    The message says in one sentence what is wrong, where (file, key, image id), what was expected and what to
    do. The command line prints it and exits with status 2.
    """


def alternatives(name: str, known: Collection[str]) -> str:
    """Return the end of a message on an unknown name: the nearest known name, and all names unless they are many."""
    others = sorted({*known} - {name})
    close = nearest(name, others)
    guess = f"; did you mean '{close}'?" if close else ""
    return guess if close and len(others) > _FEW else f"{guess} (known: {', '.join(others) or 'none'})"


def nearest(name: str, known: Collection[str]) -> str | None:
    """Return the name of `known` that is most like `name`; None where none is alike."""
    from difflib import get_close_matches  # imported only on errors, to keep planning fast

    return next(iter(get_close_matches(name, known, n=1)), None)


def first_sentence(error: BaseException) -> str:
    """The first line of an error's message, without its full stop, or the error's name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
