"""Reports of one benchmark: HTML and LaTeX (and PDF) that render the tables and compute nothing.

`view.py` turns the tables into what the templates show; here are the two template engines and the files.
"""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mtcp.core.errors import UserError
from mtcp.core.files import replacing, write_text
from mtcp.report.view import build_view

_TEX: Final = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "|": r"$|$",
    "±": r"$\pm$", "−": "$-$", "–": "--", "—": "---", "×": r"$\times$", "°": r"\textdegree{}",
    "·": r"\textperiodcentered{}",
    "Δ": r"$\Delta$", "κ": r"$\kappa$", "λ": r"$\lambda$", "α": r"$\alpha$", "ₘ": "$_m$", "ⁿ": "$^n$",
    "≥": r"$\ge$", "≤": r"$\le$", "≈": r"$\approx$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "…": r"\dots{}",
    "†": r"$^\dagger$", "‡": r"$^\ddagger$", "§": r"\S{}", "✓": "", "✗": "", "’": "'",
}  # fmt: skip


class _Tex(str):
    """LaTeX that is already escaped."""


def write_report(root: Path, benchmark: str, with_images: bool = False, pdf: bool = False) -> list[Path]:
    """Write `reports/<benchmark>.html` and `.tex` from `results/tables/<benchmark>/`; return the paths.

    `with_images` embeds predictions on real photographs, for a local look only; those of rendered scenes are always
    shown. `pdf` also compiles the LaTeX file. Raises `UserError` where tables are missing, or pdflatex is.
    """
    root = Path(root)
    view = build_view(root, benchmark, with_images)
    html, tex = (root / "reports" / f"{benchmark}.{ending}" for ending in ("html", "tex"))
    write_text(html, _html_environment().get_template("report.html.j2").render(view, bundle=Markup(_bundle())))
    write_text(tex, _tex_environment().get_template("report.tex.j2").render(view))
    return [html, tex, compile_pdf(tex)] if pdf else [html, tex]


def compile_pdf(tex: Path) -> Path:
    """Compile `tex` to the PDF beside it; raises `UserError` without pdflatex, or with its first complaint."""
    program = shutil.which("pdflatex")
    if program is None:
        raise UserError("`--pdf` needs pdflatex, which is not installed: install TeX Live, or leave `--pdf` out")
    with TemporaryDirectory() as folder:
        for _ in range(2):  # longtable settles its widths in the second pass
            done = subprocess.run(
                [program, "-interaction=nonstopmode", "-halt-on-error", "-output-directory", folder, str(tex)],
                capture_output=True,
                check=False,
            )
            if done.returncode:
                complaint = next(
                    (line for line in done.stdout.decode(errors="replace").splitlines() if line[:1] == "!"), ""
                )
                raise UserError(f"pdflatex cannot compile {tex}: {complaint or 'see its log'}")
        target = tex.with_suffix(".pdf")
        with replacing(target) as temporary:
            shutil.copyfile(Path(folder) / target.name, temporary)
    return target


def escape_tex(text: Any) -> str:
    """Return `text` with LaTeX's special characters escaped; letters that pdflatex does not know become "?"."""
    if isinstance(text, _Tex):
        return text
    return "".join(
        _TEX.get(letter) or (letter if ord(letter) < 0x180 else _TEX.get(letter, "?")) for letter in str(text)
    )


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script, safe inside an HTML script element."""
    return re.sub(r"</(?=script)|<!--", lambda found: "\\x3c" + found.group()[1:], vl_convert.javascript_bundle())


def _html_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mtcp.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["json"] = lambda value: Markup(
        json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    )
    return environment


def _tex_environment() -> Environment:
    """LaTeX's own braces and per cent signs stay free; everything that is printed is escaped, unless it is `raw`."""
    environment = Environment(
        loader=PackageLoader("mtcp.report"), undefined=StrictUndefined, finalize=lambda value: _Tex(escape_tex(value)),
        block_start_string="<%", block_end_string="%>", variable_start_string="<<", variable_end_string=">>",
        comment_start_string="<#", comment_end_string="#>", trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["raw"] = _Tex
    return environment
