"""Substitutes for a benchmark's reference and baseline where the grid lacks them."""

from mtcp.core.config import Benchmark
from mtcp.core.project import Project


def with_roles(project: Project, benchmark: str) -> Benchmark:
    """Return the benchmark with a `reference` and a `baseline` from the grid of params.yaml.

    If the named reference is not in the grid, it is replaced by the first method that is not a trivial baseline; if the
    named baseline is not, by the first method of family "baseline", else by the reference. A grid of only trivial
    baselines has nothing to compare and keeps the names.
    """
    found = project.benchmark(benchmark)
    grid = {name: project.method(name).family for name in project.params.methods}
    reference = found.reference
    if reference not in grid:
        reference = next((name for name, family in grid.items() if family != "trivial"), reference)
    baseline = found.baseline
    if baseline not in grid:
        stand_in = reference if reference in grid else baseline
        baseline = next((name for name, family in grid.items() if family == "baseline"), stand_in)
    return found.model_copy(update={"reference": reference, "baseline": baseline})


def role_notes(project: Project, benchmark: str) -> list[str]:
    """Return notes on the methods that replace a reference or a baseline that the grid lacks."""
    named, taken = project.benchmark(benchmark), with_roles(project, benchmark)
    return [
        f"{benchmark}: {role} '{getattr(named, role)}' is not among the methods of params.yaml; "
        f"'{getattr(taken, role)}' is used instead ({rule})"
        for role, rule in (
            ("reference", "the first that is not a trivial baseline"),
            ("baseline", "the first of family 'baseline', else the reference"),
        )
        if getattr(named, role) != getattr(taken, role)
    ]
