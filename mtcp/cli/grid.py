"""`mtcp grid`: what the grid of params.yaml can conclude, and adding seeds to it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtcp.cli.options import AsJson, print_table
from mtcp.core.words import counted

if TYPE_CHECKING:
    from mtcp.store.plan import Plan

app = typer.Typer(
    rich_markup_mode="markdown",
    invoke_without_command=True,
    help="Show which claims the grid of params.yaml can judge, or add seeds to it.",
)


@app.callback()
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """Show runs, families of claims, the seeds they need and the stopping rule.

    A grid is a list of methods in config/grids.yaml; `methods: [ablations]` in params.yaml runs another one.
    """
    if context.invoked_subcommand is not None:
        return
    from mtcp.analysis.stopping import families, rule
    from mtcp.store.plan import Plan

    plan = Plan.load(Path.cwd())
    rows = [row for name in plan.project.params.benchmarks for row in families(plan, name)]
    if as_json:
        typer.echo(json.dumps({**_size(plan), "families": rows, "rule": rule(plan.project.params)}, indent=1))
        return
    size = _size(plan)
    methods, seeds, runs = (counted(size[f"{noun}s"], noun) for noun in ("method", "seed", "run"))
    typer.echo(f"{methods} x {seeds}: {runs}, {size['done']} done")
    if not rows:
        typer.echo(
            "no claim of config/claims.yaml can be judged by these methods: docs/reading-the-report.md says how to "
            "write one ('A claim of your own')"
        )
        return
    print_table(["benchmark", "family", "claims", "least_n", "seeds", "can_conclude", "ids"], rows, as_json=False)
    typer.echo(rule(plan.project.params))


def _size(plan: "Plan") -> dict[str, Any]:
    params = plan.project.params
    done = sum(run.state() == "done" for run in plan.runs)
    return {"methods": len(params.methods), "seeds": len(params.seeds), "runs": len(plan.runs), "done": done}


@app.command("add-seeds")
def add(count: Annotated[int, typer.Argument(min=1, max=1000, help="How many seeds to add.", metavar="COUNT")]) -> None:
    """Add COUNT seeds to params.yaml. After a verdict could be reached, this is a further look, with stricter ones.

    Example: mtcp grid add-seeds 4
    """
    from mtcp.analysis.grid import add_seeds
    from mtcp.analysis.stopping import rule

    params = add_seeds(Path.cwd(), count).project.params
    typer.echo(f"params.yaml: {counted(len(params.seeds), 'seed')}, {', '.join(map(str, params.seeds))}")
    typer.echo(rule(params))
    typer.echo("Run them with `snakemake --cores all`; finished runs are kept.")
