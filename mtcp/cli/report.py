"""`mtcp tables` and `mtcp report`: from finished runs to CSVs, and from the CSVs to HTML, LaTeX and PDF."""

from pathlib import Path
from typing import Annotated

import typer

from mtcp.config import Project


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(tables)
    app.command()(metrics)
    app.command()(report)


Chosen = Annotated[str | None, typer.Argument(help="Which benchmark; all of params.yaml if left out.")]


def tables(
    benchmark: Chosen = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Show what is there: runs that are not done become marked rows.")
    ] = False,
) -> None:
    """Compute the tidy tables of a benchmark from its runs: results/tables/BENCHMARK/*.csv."""
    from mtcp.plan import Plan
    from mtcp.report.tables import write_tables

    plan = Plan.load(Path.cwd())
    for name in [benchmark] if benchmark else plan.project.params.benchmarks:
        for path in write_tables(plan, name, partial):
            typer.echo(path.relative_to(plan.root))


def metrics() -> None:
    """Collect the means of all benchmarks from their tables: results/tables/metrics.json, for `dvc metrics`."""
    from mtcp.plan import Plan
    from mtcp.report.tables import write_metrics

    plan = Plan.load(Path.cwd())
    typer.echo(write_metrics(plan).relative_to(plan.root))


def report(
    benchmark: Chosen = None,
    with_images: Annotated[
        bool, typer.Option("--with-images", help="Embed predictions on real photographs: for your own eyes only.")
    ] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Also compile the LaTeX report (needs pdflatex).")] = False,
) -> None:
    """Render a benchmark's tables: reports/BENCHMARK.html and .tex. Nothing is computed here."""
    from mtcp.report.render import write_report

    for name in [benchmark] if benchmark else Project().params.benchmarks:
        for path in write_report(Path.cwd(), name, with_images, pdf):
            typer.echo(path.relative_to(Path.cwd()))
