"""`mtcp literature`: our numbers beside the loss-weighting literature's."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mtcp.cli.options import AsJson


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(literature)


def literature(
    benchmark: Annotated[str, typer.Argument(help="nyuv2_13, cityscapes_7, or one on other data.")],
    scheme: Annotated[str | None, typer.Option("--scheme", help="Only this scheme, such as mgda.")] = None,
    between_papers: Annotated[
        bool, typer.Option("--spread", help="How far papers differ on one and the same scheme, instead.")
    ] = False,
    form: Annotated[
        Literal["csv", "html", "latex"], typer.Option("--format", help="Form of the file, or of what is printed.")
    ] = "csv",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write (default: print).")] = None,
    as_json: AsJson = False,
) -> None:
    """Show published numbers of loss-weighting schemes beside ours, each row with its protocol and source.

    Ours come from `mtcp tables BENCHMARK`. Ranks are only among rows of the same protocol. For a benchmark on derived
    data, only our rows are shown. docs/weighting-literature.md says what can be compared.

    Example: mtcp literature nyuv2_13 --scheme mgda
    """
    from mtcp.analysis import literature as tables
    from mtcp.analysis.tables import to_csv
    from mtcp.core.errors import UserError
    from mtcp.core.files import write_text
    from mtcp.core.project import Project

    if as_json and form != "csv":
        raise UserError(f"mtcp literature: --json and --format {form} are two forms of one output: give one")
    project = Project()
    table = tables.spread(project) if between_papers else tables.literature(project, benchmark, scheme)
    if between_papers:
        dataset = tables.DATASETS.get(project.data_name(benchmark))
        table = table[(table.dataset == dataset) & (table.scheme == scheme if scheme else True)]
    if as_json:
        text = table.to_json(orient="records", indent=1) + "\n"
    elif form == "html":
        text = table.to_html(index=False, na_rep="", float_format="{:.4g}".format) + "\n"
    elif form == "latex":
        text = table.to_latex(index=False, na_rep="", float_format="{:.4g}".format, escape=True)
    else:
        text = to_csv(table)
    if output is None:
        typer.echo(text, nl=False)
        return
    write_text(output, text)
    typer.echo(f"wrote {output}")
