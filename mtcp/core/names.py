"""The form of names: of methods, schemes, architectures, benchmarks, data sets and studies.

They become file names, columns of tables and words of a command, so they are short and plain.
"""

import re
from typing import Any, Final

from mtcp.core.errors import UserError

#: A file name holds 255 bytes, and a key or an ending stands beside the name.
_LONGEST: Final = 100
FORM: Final = f"[a-z0-9_]{{1,{_LONGEST}}}"
_CODE: Final = f"[a-z][a-z0-9_]{{0,{_LONGEST - 1}}}"


def name_fault(name: Any, *, in_code: bool = False) -> str | None:
    """Return why `name` cannot be a name; None if it can. `in_code`: it also names a Python file or variable."""
    if isinstance(name, bool):
        return "YAML reads yes, no, on and off as true and false: put the name in quotes"
    if not isinstance(name, str):
        return f"{name!r} is no text in YAML, and so no name: put it in quotes"
    if re.fullmatch(_CODE if in_code else FORM, name):
        return None
    if len(name) > _LONGEST:
        return f"'{name[:40]}...' is too long for a name: use at most {_LONGEST} characters"
    return f"'{name}' is not a name: use [a-z0-9_]+{', a letter first' if in_code else ''}"


def require_name(name: str, *, in_code: bool = False) -> None:
    """Raise `UserError` where `name` cannot be a name."""
    if problem := name_fault(name, in_code=in_code):
        raise UserError(problem)
