"""`mtcp tables`, `metrics` and `report`: from finished runs to CSVs, and from these to HTML, LaTeX and PDF."""

from pathlib import Path
from typing import Annotated

import typer

from mtcp.cli.options import Key, require_key
from mtcp.core.errors import UserError
from mtcp.store.integrity import partial_stamp, require_stamped, stamping


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(tables)
    app.command()(metrics)
    app.command()(report)


Chosen = Annotated[str | None, typer.Argument(help="Which benchmark; all of params.yaml if left out.")]


def tables(
    benchmark: Chosen = None,
    key: Key = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Show what is there: runs that are not done become marked rows.")
    ] = False,
) -> None:
    """Compute the tidy tables of a benchmark from its runs: results/tables/BENCHMARK/*.csv."""
    from mtcp.analysis.tables import write_tables
    from mtcp.store.plan import Plan, key_of

    plan = Plan.load(Path.cwd())
    for name in [benchmark] if benchmark else plan.project.params.benchmarks:
        stamp = plan.stamps(name).tables
        require_key(f"the grid of {name}", key, key_of(stamp))
        with stamping(stamp, complete=not partial) as paths:
            paths += write_tables(plan, name, partial)
        _tell(plan.root, paths)


def metrics(key: Key = None) -> None:
    """Collect the means of all benchmarks from their tables: results/tables/metrics/, for `dvc metrics`."""
    from mtcp.analysis.tables import write_metrics
    from mtcp.store.plan import Plan, key_of

    plan = Plan.load(Path.cwd())
    stamp = plan.metrics_stamp()
    require_key("the grid", key, key_of(stamp))
    for name in plan.project.params.benchmarks:
        require_stamped(plan.stamps(name).tables)
    with stamping(stamp) as paths:
        paths += write_metrics(plan)
    _tell(plan.root, paths)


def report(
    benchmark: Chosen = None,
    with_images: Annotated[
        bool,
        typer.Option(
            "--with-images",
            help="Write reports/BENCHMARK-private.html instead, with predictions on real photographs: for private use; "
            "do not publish.",
        ),
    ] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Also compile the LaTeX report (needs pdflatex).")] = False,
    figures: Annotated[
        bool, typer.Option("--figures", help="Also write every chart as vector PDF: reports/BENCHMARK-figures/.")
    ] = False,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare", help="Two folders or commits instead: what changed between their results.", metavar="A B"
        ),
    ] = None,
    key: Key = None,
) -> None:
    """Render a benchmark's tables as reports/BENCHMARK.html and .tex.

    With --compare A B (project folders, folders of tables, or commits that contain tables), write
    reports/compare.html, .md for a pull request, and .csv: runs in both, changes of keys, paired differences.
    """
    if compare is not None:
        if benchmark or with_images or pdf or figures or key:
            raise UserError("mtcp report --compare A B goes with no other option: its page is of both states")
        from mtcp.report.comparison import write_comparison

        _tell(Path.cwd(), write_comparison(Path.cwd(), *compare))
        return
    if with_images and (pdf or figures):
        raise UserError(
            "mtcp report --with-images writes the private page alone: leave --pdf and --figures to a second call"
        )
    from mtcp.report.index import write_index
    from mtcp.report.render import write_private_report, write_report
    from mtcp.store.plan import Plan, key_of

    plan = Plan.load(Path.cwd())
    for name in [benchmark] if benchmark else plan.project.params.benchmarks:
        stamps = plan.stamps(name)
        require_key(f"the report of {name}", key, key_of(stamps.report))
        if not any(stamp.exists() for stamp in (stamps.tables, partial_stamp(stamps.tables))):
            raise UserError(
                f"results/tables/{name} has no tables of the present grid, configuration and code: write them with "
                f"`mtcp tables {name}` (`--partial` while runs are missing); `mtcp why` says what changed"
            )
        if with_images:
            _tell(plan.root, [write_private_report(plan.root, name)])
            continue
        with stamping(stamps.report, complete=stamps.tables.exists()) as paths:
            paths += write_report(plan.root, name, pdf, figures)
        _tell(plan.root, paths)
    if not with_images:
        _tell(plan.root, [write_index(plan.root)])


def _tell(root: Path, paths: list[Path]) -> None:
    for path in paths:
        typer.echo(path.relative_to(root))
