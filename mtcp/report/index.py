"""The index of benchmarks, `reports/index.html`: one line per benchmark that has tables."""

from pathlib import Path

from mtcp.analysis.tables import read_table
from mtcp.core.files import visible, write_text
from mtcp.core.project import Project
from mtcp.core.project_files import REPORTS, TABLES
from mtcp.report.subject import about_paper
from mtcp.report.templating import html_environment
from mtcp.report.verdicts import tally


def write_index(root: Path) -> Path:
    """Write the index of all reports in `reports/` from their tables; return its path."""
    project, rows, of_paper = Project(root), [], False
    for page in visible(root / REPORTS, "*.html"):
        folder = root / TABLES / page.stem
        if not (folder / "claims.csv").exists() or page.stem not in project.benchmark_names():
            continue
        methods, claims = (read_table(folder / f"{table}.csv") for table in ("methods", "claims"))
        of_paper = of_paper or about_paper(methods, claims)
        rows.append(
            {
                "name": page.stem,
                "label": project.benchmark(page.stem).label,
                "tally": tally(claims),
                "methods": len(methods),
                "seeds": int(methods.seeds.max()),
                "finished": f"{int(methods.finished.sum())} of {int(methods.seeds.sum())}",
            }
        )
    path = root / REPORTS / "index.html"
    write_text(path, html_environment().get_template("index.html.j2").render(rows=rows, about_paper=of_paper))
    return path
