"""The head of a page: what was run on what, and what readers must know before the numbers."""

from collections.abc import Iterator

import pandas as pd

from mtcp.analysis.comparisons import COST
from mtcp.analysis.rows import rows_of
from mtcp.analysis.speed import loaded
from mtcp.core.roles import role_notes
from mtcp.core.words import counted, counted_first, listed
from mtcp.report.data_facts import data_facts
from mtcp.report.page import Page
from mtcp.store.speed import is_busy


def subtitle(page: Page) -> str:
    """Return tasks, data, size and epochs in one line."""
    benchmark = page.benchmark
    kind = "rendered scenes" if benchmark.rendered is not None else "photographs"
    names = ", ".join(task.label.lower() for task in page.tasks)
    epochs = counted(benchmark.training.epochs, "epoch")
    return f"{names} on {kind} of {benchmark.height}x{benchmark.width} pixels (height x width), {epochs}"


def facts(page: Page) -> list[tuple[str, str]]:
    """Return facts as (name, value): data, methods, runs, code, time and environment."""
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
    """Yield the limits of the results: open and diverged runs, equal networks, too few seeds, mixed environments."""
    methods, comparisons = page.methods, page.tables["comparisons"]
    if methods.open.sum():
        runs = counted(int(methods.seeds.sum()), "run")
        yield (
            f"Partial: {int(methods.open.sum())} of {runs} not done; their rows say so, and nothing is concluded "
            "before they are."
        )
    for row in methods[methods.diverged > 0].itertuples():
        yield f"{row.label} diverged on {row.diverged} of {row.seeds} seeds ({row.reasons}); these enter no mean."
    if groups := same_networks(page.tables["provenance"]):
        names = "; ".join(" = ".join(page.labels[method] for method in group) for group in groups)
        yield f"One network under several names, equal to the bit on every seed; what differs never acted: {names}."
    # A table without a row has no columns either.
    judged, compared = (
        table[table.task != COST][["n", "least_n"]].dropna().astype(int)  # of measured costs n counts rounds
        for table in (each.reindex(columns=["task", "n", "least_n"]) for each in (page.tables["claims"], comparisons))
    )
    tests = pd.concat([judged, compared])
    if len(tests) and (tests.n < tests.least_n).all():
        yield _too_few(*((compared, "comparisons") if judged.empty else (judged, "claims")))
    yield from role_notes(page.project, page.name)
    yield from _worse_than_the_prior(page)
    yield from _times(page)
    for task in page.tasks:
        if task.disparity:
            yield f"{task.label} is a disparity here: larger is nearer."
    weights = page.tables["provenance"].dropna(subset=["weights_sha256"]).groupby("weights_sha256").method.unique()
    if len(weights) > 1:  # a benchmark has one encoder
        started = "; ".join(
            f"{str(digest)[:8]} {', '.join(page.labels[name] for name in names)}" for digest, names in weights.items()
        )
        yield f"Runs started from different pre-trained weights ('encoder.sha256' pins them): {started}."
    if len(comparisons) and (comparisons.environments == "mixed").any():
        mixed = comparisons[comparisons.environments == "mixed"].method.map(page.labels).unique()
        yield f"Pairs across different environments (device or library versions): {', '.join(mixed)}."


def _too_few(tests: pd.DataFrame, what: str) -> str:
    """Return how many paired seeds `tests` (claims or comparisons) have at most, and how many they need."""
    most = tests.groupby("least_n").n.max()
    count, by_family = int(most.max()), ", by family" if len(most) > 1 else ""
    if count >= most.index.min():  # one number of seeds for all would be enough for some
        pairs = listed([f"{n} of {least}" for least, n in most.items()], "and")
        found = f"No conclusion: of the paired seeds that these {what} need, there are at most {pairs}"
    else:
        start = f"{counted_first(count, 'seed')} {'allows' if count == 1 else 'allow'} no conclusion"
        start = start if count else "No seed has a pair of finished runs yet"
        found = f"{start}: these {what} need at least {listed(list(most.index), 'or')}"
    return f"{found}{by_family}. Treat the numbers as preliminary."


def same_networks(provenance: pd.DataFrame) -> list[list[str]]:
    """Return the groups of methods that have the same seeds and, on each of them, the same trained network."""
    groups: dict[frozenset[tuple[int, str]], list[str]] = {}
    for method, rows in provenance.groupby("method", sort=False):
        digests = rows.network_sha256.fillna("")
        if all(digests):
            groups.setdefault(frozenset(zip(rows.seed, digests, strict=True)), []).append(str(method))
    return [methods for methods in groups.values() if len(methods) > 1]


def _worse_than_the_prior(page: Page) -> Iterator[str]:
    """Yield the methods whose mean is worse than that of a prior that sees no image, with the tasks."""
    summary = page.tables["summary"]
    final = summary[(summary.selection == "last") & (summary.output == "final")]
    for prior in page.methods[page.methods.family == "trivial"].method:
        found: dict[str, list[str]] = {}
        for task in page.tasks:
            means = final[(final.task == task.name) & (final.metric == task.metric)].set_index("method")["mean"]
            gains = (means - means.get(prior, float("nan"))) * (1 if task.higher_is_better else -1)
            for method in gains[gains < 0].index:
                found.setdefault(page.labels[method], []).append(task.label.lower())
        if found:
            worse = "; ".join(f"{label} in {', '.join(tasks)}" for label, tasks in found.items())
            yield (
                f"Worse on average than '{page.labels[prior]}', which sees no image: {worse}. Read verdicts on these "
                "methods with that in mind."
            )


def _times(page: Page) -> Iterator[str]:
    """Yield where times come from, and whether other processes disturbed them."""
    speed, provenance = page.tables["speed"], page.tables["provenance"]
    if len(speed):
        first = next(rows_of(speed))
        count, others = speed["round"].nunique(), speed.others.max()
        yield (
            f"Seconds and memory are those of 'mtcp benchmark': {count} rounds on {first.processor}, "
            f"{counted(first.threads, 'thread')}"
            + (f", beside other processes on up to {others:.1f} cores." if is_busy(others, first.cores) else ".")
        )
        return
    busy = loaded(provenance)
    if len(busy):
        yield (
            f"Times were measured while other work was running (load up to {busy.load.max():.1f} on "
            f"{counted(int(busy.cores.iloc[0]), 'core')}, in {len(busy)} of {counted(len(provenance), 'run')}). "
            f"Compare them only roughly, or measure them with 'mtcp benchmark {page.name}'."
        )
