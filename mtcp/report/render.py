"""Reports of one benchmark as HTML and LaTeX (and PDF), which only render the tables.

`view.py` turns the tables into the templates' input; this module renders the templates and writes the files.
"""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import vl_convert
from markupsafe import Markup

from mtcp.core.errors import UserError
from mtcp.core.files import replacing, write_text
from mtcp.core.project_files import REPORTS
from mtcp.report.chart_files import write_charts
from mtcp.report.extremes import draw_extremes
from mtcp.report.templating import html_environment, tex_environment
from mtcp.report.view import build_view

#: The charts of a view: {file name: key of the view}.
_CHARTS: Final = {
    "claims": "by_claim", "delta-m": "forest", "tasks": "changes", "classes": "classes", "ranks": "ranks",
    "trade-off": "trade_off", "sweep": "sweep", "outputs": "by_output", "seeds": "strips", "loss": "losses",
    "weights": "weights", "gradients": "gradients",
}  # fmt: skip


def write_report(root: Path, benchmark: str, pdf: bool = False, figures: bool = False) -> list[Path]:
    """Write `reports/<benchmark>.html`, `.tex` and `-tables.tex` from `results/tables/<benchmark>/`; return the paths.

    Predictions on real photographs are left out; those on rendered scenes are shown. `pdf` also compiles the LaTeX
    file, `figures` writes every chart to `reports/<benchmark>-figures/` as PDF.
    Raises `UserError` where tables or pdflatex are missing.
    """
    root = Path(root)
    draw_extremes(root, benchmark)
    view = build_view(root, benchmark)
    html, tex = (root / REPORTS / f"{benchmark}.{ending}" for ending in ("html", "tex"))
    _write_page(html, view)
    write_text(tex, tex_environment().get_template("report.tex.j2").render(view))
    paper = root / REPORTS / f"{benchmark}-tables.tex"
    write_text(paper, tex_environment().get_template("paper.tex.j2").render(view))
    written = [html, tex, paper, *([compile_pdf(tex)] if pdf else [])]
    if figures:
        charts = {name: view[key] for name, key in _CHARTS.items()}
        written += write_charts(root / REPORTS / f"{benchmark}-figures", charts, view["reference"], view["baseline"])
    return written


def write_private_report(root: Path, benchmark: str) -> Path:
    """Write `reports/<benchmark>-private.html`, with real photographs, for private use; return its path.

    The public page and its stamp stay as they are. No benchmark's name has a hyphen, so nothing confuses the two.
    """
    root = Path(root)
    draw_extremes(root, benchmark)
    path = root / REPORTS / f"{benchmark}-private.html"
    _write_page(path, build_view(root, benchmark, private=True))
    return path


def _write_page(path: Path, view: dict[str, Any]) -> None:
    write_text(path, html_environment().get_template("report.html.j2").render(view, bundle=Markup(_bundle())))


def compile_pdf(tex: Path) -> Path:
    """Compile `tex` to a PDF beside it; raises `UserError` if pdflatex is missing or reports an error."""
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


def _javascript() -> str:
    return vl_convert.javascript_bundle()  # pyright: ignore[reportCallIssue] - the stub lacks the default


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script, safe inside an HTML script element."""
    return re.sub(r"</(?=script)|<!--", lambda found: "\\x3c" + found.group()[1:], _javascript())
