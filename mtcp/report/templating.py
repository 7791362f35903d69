"""The two template engines of reports, HTML and LaTeX; both escape what they print."""

import json
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mtcp.core.words import counted

_TEX: Final = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "|": r"$|$",
    "±": r"$\pm$", "−": "$-$", "–": "--", "—": "---", "×": r"$\times$", "°": r"\textdegree{}",
    "·": r"\textperiodcentered{}",
    "Δ": r"$\Delta$", "κ": r"$\kappa$", "λ": r"$\lambda$", "α": r"$\alpha$", "ₘ": "$_m$", "ⁿ": "$^n$",
    "≥": r"$\ge$", "≤": r"$\le$", "≈": r"$\approx$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "…": r"\dots{}",
    "†": r"$^\dagger$", "‡": r"$^\ddagger$", "§": r"\S{}", "✓": "", "✗": "", "’": "'",
}  # fmt: skip


#: Pairs of characters that TeX's fonts would replace by another one.
_JOINED: Final = ("--", "``", "''", ",,", "?`", "!`")
#: Names of more characters than this are broken into lines, and words in them after as many.
_NAME: Final = 44
_WORD: Final = 24


class _Tex(str):
    """LaTeX that is already escaped."""


def escape_tex(text: Any) -> str:
    """Return `text` with LaTeX's special characters escaped; characters unknown to pdflatex become "?".

    What starts with `[` or `*` is set apart from a `\\\\` before it, which would take it for its argument.
    """
    if isinstance(text, _Tex):
        return text
    escaped = ""
    for letter in str(text):
        found = _TEX.get(letter, letter if _in_t1(letter) else "?")
        escaped += ("{}" if escaped[-1:] + found[:1] in _JOINED else "") + found
    return "{}" + escaped if escaped.startswith(("[", "*")) else escaped


def name_tex(text: str) -> _Tex:
    """Return the name of a method for a column of names: a long one in lines of 6 cm, so that the table fits."""
    if len(text) <= _NAME:
        return _Tex(escape_tex(text))
    words = [[word[start : start + _WORD] for start in range(0, len(word), _WORD)] for word in text.split()]
    broken = " ".join(r"\hspace{0pt}".join(map(escape_tex, parts)) for parts in words)
    return _Tex(rf"\parbox[t]{{6cm}}{{\raggedright {broken}\strut}}")


def _in_t1(letter: str) -> bool:
    """Whether pdflatex has `letter` in its T1 fonts."""
    return ord(letter) < 0x180 and not 0x7F <= ord(letter) < 0xA0 and letter not in "ĦħĸŉĿŀŦŧ"


def html_environment(escape: bool = True) -> Environment:
    """Return the engine for HTML pages or, without `escape`, for Markdown."""
    environment = Environment(
        loader=PackageLoader("mtcp.report"),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["counted"] = counted
    environment.filters["json"] = lambda value: Markup(
        json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    )
    return environment


def tex_environment() -> Environment:
    """Return the engine for LaTeX, with delimiters that leave braces and per cent signs free; escapes all but `raw`."""
    environment = Environment(
        loader=PackageLoader("mtcp.report"), undefined=StrictUndefined, finalize=lambda value: _Tex(escape_tex(value)),
        block_start_string="<%", block_end_string="%>", variable_start_string="<<", variable_end_string=">>",
        comment_start_string="<#", comment_end_string="#>", trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["raw"] = _Tex
    environment.filters["name"] = name_tex
    return environment
