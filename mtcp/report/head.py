"""The head of a page: what ran on what, and what a reader must know before the numbers."""

from collections.abc import Iterator

from mtcp.report.data_facts import data_facts
from mtcp.report.page import Page


def subtitle(page: Page) -> str:
    """Return tasks, data, size and epochs in one line."""
    benchmark = page.benchmark
    kind = "rendered scenes" if benchmark.rendered is not None else "photographs"
    names = ", ".join(task.label.lower() for task in page.tasks)
    epochs = "1 epoch" if benchmark.training.epochs == 1 else f"{benchmark.training.epochs} epochs"
    return f"{names} on {kind} of {benchmark.width} × {benchmark.height} pixels, {epochs}"


def facts(page: Page) -> list[tuple[str, str]]:
    """Return (name, value) of what the page is about: data, methods, runs, code, time and environment."""
    methods, provenance, benchmark = page.methods, page.tables["provenance"], page.benchmark
    commits = provenance.commit.dropna().astype(str).str[:10].unique()
    dirty = (provenance.dirty.astype(str) == "True").any()
    days = sorted({str(moment)[:10] for moment in provenance.finished.dropna()})
    return [
        ("Data", data_facts(page.project, page.name)),
        ("Methods", str(len(methods))),
        ("Seeds", str(int(methods.seeds.max()))),
        ("Runs finished", f"{int(methods.finished.sum())} of {int(methods.seeds.sum())}"),
        ("Reference", str(methods.set_index("method").label.get(benchmark.reference, benchmark.reference))),
        ("Code", (", ".join(commits) or "not recorded") + (" (with local changes)" if dirty else "")),
        ("Run on", " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "–"),
        ("Environment", ", ".join(provenance.environment.dropna().unique()) or "–"),
    ]


def notes(page: Page) -> Iterator[str]:
    """Say what limits the numbers: open and diverged runs, too few seeds, mixed environments."""
    methods, comparisons = page.methods, page.tables["comparisons"]
    if methods.open.sum():
        yield f"Partial: {int(methods.open.sum())} of {int(methods.seeds.sum())} runs are not done; their rows say so."
    for row in methods[methods.diverged > 0].itertuples():
        yield f"{row.label} diverged on {row.diverged} of {row.seeds} seeds ({row.reasons}); these enter no mean."
    if len(comparisons) and comparisons.n.max() < comparisons.least_n.min():
        count = int(comparisons.n.max())
        seeds = "1 paired seed concludes" if count == 1 else f"{count} paired seeds conclude"
        yield (
            f"{seeds} nothing here: with {int(comparisons.family_size.max())} comparisons in a family, "
            f"{int(comparisons.least_n.max())} are the least that could. "
            f"Read the numbers as a sketch."
        )
    if len(comparisons) and (comparisons.environments == "mixed").any():
        mixed = comparisons[comparisons.environments == "mixed"].method.map(page.labels).unique()
        yield f"Pairs across different environments (device or library versions): {', '.join(mixed)}."
