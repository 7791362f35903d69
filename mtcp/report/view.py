"""What a report shows, as text and numbers for the templates: looked up in the tables and formatted, not computed."""

import base64
from collections.abc import Iterator, Sequence
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any, Final

import pandas as pd
from PIL import Image

from mtcp.analysis.comparisons import COST, MULTI_TASK, TRUTH, benchmark_tasks, measures
from mtcp.analysis.fixed_weights import sweep
from mtcp.analysis.stopping import rule
from mtcp.analysis.tables import read_table
from mtcp.core.config import Benchmark, Project
from mtcp.core.errors import UserError
from mtcp.core.ledger import load_ledger
from mtcp.core.project_files import LITERATURE, SAMPLES, TABLE_NAMES, TABLES, run_folder
from mtcp.core.roles import with_roles
from mtcp.core.tasks import UNTRAINED, Task
from mtcp.metrics.coherence import COHERENCE, COHERENCE_METRICS
from mtcp.report import breakdown_figures, figures
from mtcp.report.data_facts import data_facts
from mtcp.report.extremes import PLACES, extremes
from mtcp.report.formats import difference, display, probability
from mtcp.report.paper_tables import paper_view
from mtcp.report.verdicts import OUTPUTS, claim_view, posterior, tally, verdict_groups
from mtcp.store.integrity import require_stamped

_COSTS: Final = ("parameters", "gflops", "seconds_per_image", "seconds_per_step", "peak_memory_mb")
_SELECTIONS: Final = {
    "last": "Last epoch",
    "validation": "Best epoch on the validation split",
    "last_epochs_mean": "Mean over the last epochs",
    "best_on_test": "Best epoch on the test images (optimistic: test was looked at)",
}
#: Sample pictures embedded in one report, all together (bytes).
_SAMPLE_BUDGET: Final = 2_000_000
_FLAG_MARK: Final = " †"
_GAP_MARK: Final = " ‡"
#: What a flag says to readers; those of _NOTES are no sign of trouble, and get no mark.
_FLAGS: Final = {
    "stayed_equal": "weights stayed equal although they should have moved",
    "negative_weights": "negative weights, with which a task's loss is ascended",
    "runaway_weights": "weights ran away to 1000 times their first size",
    "non_finite_predictions": "predictions that are not finite",
    "negative_by_design": "some weights were negative, as the scheme's solution allows",
}
_NOTES: Final = {"negative_by_design"}


def build_view(root: Path, name: str, with_images: bool) -> dict[str, Any]:
    """Return everything the templates show of benchmark `name`; raises `UserError` where a table is missing."""
    project = Project(root)
    benchmark = with_roles(project, name)
    folder = root / TABLES / name
    for stamp in folder.glob("grid-*.stamp"):
        require_stamped(stamp)
    tables = {table: read_table(folder / f"{table}.csv") for table in TABLE_NAMES if table != "history"}
    methods, tasks = tables["methods"], benchmark_tasks(benchmark)
    labels = dict(zip(methods.method, methods.label, strict=True))
    marks = {row.method: _mark(row) for row in methods.itertuples()}
    literature = folder / f"{LITERATURE}.csv"
    view = {
        "name": name,
        "title": f"{project.params.title}: {benchmark.label}" if project.params.title else benchmark.label,
        "subtitle": _subtitle(benchmark, tasks),
        "facts": [("Data", data_facts(project, name)), *_facts(tables, benchmark)],
        "notes": list(_notes(tables, labels)),
        "reference": benchmark.reference,
        "baseline": benchmark.baseline,
        "baseline_label": labels.get(benchmark.baseline, benchmark.baseline),
        "rope": f"{benchmark.delta_m_rope:g}",
        "task_labels": [task.label for task in tasks],
        "tally": tally(tables["claims"]),
        "verdict_groups": verdict_groups(tables["claims"], tables["pairs"], labels, benchmark),
        "not_run": [
            claim_view(row, tables["pairs"][:0], labels, benchmark)
            for row in tables["claims"].itertuples()
            if not row.n > 0
        ],
        "paper": paper_view(tables["paper"], name, benchmark, labels.get(benchmark.baseline, benchmark.baseline)),
        "coherence": _coherence(tables, benchmark, tasks, marks),
        "stopping_rule": rule(Project(root).params),
        "comparison": _comparison(tables, benchmark, tasks, marks),
        "ablation": _ablation(tables, benchmark, tasks, marks),
        "further": _further(tables, tasks, marks, benchmark),
        "families": _families(tables["comparisons"], benchmark, labels, marks),
        "statistics_note": _statistics_note(tables),
        "chartable": methods[methods.family != "trivial"][["method", "label"]].to_dict("records"),
        "forest": None,
        "by_claim": _chart(figures.claims_chart(tables["claims"])),
        "trade_off": _chart(figures.trade_off_chart(tables["summary"], methods, "seconds_per_image")),
        "sweep": figures.sweep_charts(sweep(tables["summary"], methods, tasks), tasks),
        "by_output": _chart(figures.outputs_chart(tables["multi_task"], methods, OUTPUTS)),
        "winners": _winners(methods, tables["ranks"], tables["summary"]),
        "changes": _chart(breakdown_figures.changes_chart(tables["changes"], methods, tasks, benchmark.baseline)),
        "classes": breakdown_figures.class_charts(tables["classes"], methods, tasks, benchmark.baseline),
        "ranks": _chart(breakdown_figures.ranks_chart(tables["ranks"], methods)),
        "strips": figures.seed_charts(tables["runs"], methods, tasks),
        "losses": figures.loss_charts(tables["curves"], methods, tasks),
        "weights": figures.weight_charts(tables["curves"], methods, tasks),
        "gradients": figures.gradient_charts(tables["curves"], methods),
        "samples": _samples(root, name, tables, labels, benchmark.reference)
        if benchmark.rendered or with_images
        else [],
        "samples_note": _samples_note(benchmark, with_images),
        "literature": _literature(read_table(literature)) if literature.exists() else None,
        "ledger": load_ledger(root / "config/ledger.yaml"),
        "provenance": [_provenance(row, labels) for row in tables["provenance"].astype(object).fillna("").itertuples()],
    }
    if len(tables["multi_task"]):
        spec = figures.delta_m_chart(tables["multi_task"], tables["summary"], methods, benchmark.delta_m_rope)
        view["forest"] = {"title": "", "spec": spec}
    view["sections"] = [
        (anchor, title)
        for anchor, title, there in (
            ("verdicts", "Verdicts", True),
            ("comparison", "Comparison", True),
            ("charts", "Seed by seed", True),
            ("ablation", "Ablation", len(view["ablation"]["rows"]) > 1),
            ("coherence", "Coherence", view["coherence"]),
            ("statistics", "Statistics", True),
            ("training", "Training", view["losses"] or view["weights"] or view["gradients"]),
            ("predictions", "Predictions", True),
            ("literature", "Literature", view["literature"]),
            ("paper", "For a paper", view["paper"]),
            ("ledger", "Ledger", True),
            ("provenance", "Provenance", True),
        )
        if there
    ]
    return view


def _chart(spec: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if spec is None else {"title": "", "spec": spec}


def _winners(methods: pd.DataFrame, ranks: pd.DataFrame, summary: pd.DataFrame) -> str:
    """Say which methods a single seed would have called the best, and how often it is not the one of all seeds.

    Empty where nothing was ranked.
    """
    won = methods[methods.wins > 0].sort_values("wins", ascending=False, kind="stable")
    total = int(won.wins.sum())
    if not total:
        return ""
    primary = summary[(summary.metric == "delta_m") & (summary.selection == "last") & (summary.output == "final")]
    means = primary[primary.method.isin(ranks.method)].set_index("method")["mean"]
    best = methods.set_index("method").loc[means.idxmax()]
    parts = ", ".join(f"{row.label} on {row.wins} of {total}" for row in won.itertuples())
    return (
        f"{parts}. By the mean of all seeds it is {best.label}: {total - best.wins} of {total} seeds pick another one."
    )


# --- Head --------------------------------------------------------------------------------------------------------


def _subtitle(benchmark: Benchmark, tasks: Sequence[Task]) -> str:
    kind = "rendered scenes" if benchmark.rendered is not None else "photographs"
    names = ", ".join(task.label.lower() for task in tasks)
    epochs = "1 epoch" if benchmark.training.epochs == 1 else f"{benchmark.training.epochs} epochs"
    return f"{names} on {kind} of {benchmark.width} × {benchmark.height} pixels, {epochs}"


def _facts(tables: dict[str, pd.DataFrame], benchmark: Benchmark) -> list[tuple[str, str]]:
    methods, provenance = tables["methods"], tables["provenance"]
    commits = provenance.commit.dropna().astype(str).str[:10].unique()
    dirty = (provenance.dirty.astype(str) == "True").any()
    days = sorted({str(moment)[:10] for moment in provenance.finished.dropna()})
    return [
        ("Methods", str(len(methods))),
        ("Seeds", str(int(methods.seeds.max()))),
        ("Runs finished", f"{int(methods.finished.sum())} of {int(methods.seeds.sum())}"),
        ("Reference", str(methods.set_index("method").label.get(benchmark.reference, benchmark.reference))),
        ("Code", (", ".join(commits) or "not recorded") + (" (with local changes)" if dirty else "")),
        ("Run on", " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "–"),
        ("Environment", ", ".join(provenance.environment.dropna().unique()) or "–"),
    ]


def _notes(tables: dict[str, pd.DataFrame], labels: dict[str, str]) -> Iterator[str]:
    methods, comparisons = tables["methods"], tables["comparisons"]
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
        mixed = comparisons[comparisons.environments == "mixed"].method.map(labels).unique()
        yield f"Pairs across different environments (device or library versions): {', '.join(mixed)}."


def _mark(row: Any) -> str:
    """Return the symbols after a method's name: † signs of trouble, ‡ seeds without a number."""
    return (_FLAG_MARK if _flags(row) - _NOTES else "") + (_GAP_MARK if row.finished < row.seeds else "")


def _flags(row: Any) -> set[str]:
    return set(row.flags.split(";")) - {""} if isinstance(row.flags, str) else set()


def _in_words(flag: str) -> str:
    if flag.startswith(UNTRAINED):
        return f"{flag.removeprefix(UNTRAINED)} was never trained (no valid pixel, or no gradient)"
    return _FLAGS.get(flag, flag.replace("_", " "))


def _legend(methods: pd.DataFrame) -> Iterator[str]:
    for row in methods.itertuples():
        for mark, flags in (("† ", _flags(row) - _NOTES), ("", _flags(row) & _NOTES)):
            if flags:
                words = map(_in_words, sorted(flags))
                yield f"{mark}{row.label}: {', '.join(words)}"
    for row in methods[methods.finished < methods.seeds].itertuples():
        yield f"‡ {row.label}: {row.finished} of {row.seeds} seeds have numbers ({row.reasons})"


# --- Results -----------------------------------------------------------------------------------------------------


def _comparison(
    tables: dict[str, pd.DataFrame], benchmark: Benchmark, tasks: Sequence[Task], marks: dict[str, str]
) -> dict[str, Any]:
    methods = tables["methods"]
    trivial = methods.family == "trivial"
    shown = pd.concat([methods[~trivial & (methods.family != "ablation")], methods[trivial]])
    columns = [*_task_columns(tasks), (MULTI_TASK, "delta_m"), *((COST, metric) for metric in _COSTS)]
    head = [_column(task, metric, tasks, benchmark) for task, metric in columns]
    tuning = [("configurations", "configs", 1)]
    tuning += [(f"tuning_{kind}_seconds", f"{kind.upper()} min", 60) for kind in ("cpu", "gpu")]
    tuning = [column for column in tuning if column[2] == 1 or (methods[column[0]] > 0).any()]
    head += [{"title": "Tuning", "detail": detail, "first": "ascending"} for _, detail, _ in tuning]
    cells = _marked(_cells(tables["summary"], "rank"), methods)
    rows = []
    for row in shown.itertuples():
        own = [cells.get((row.method, *column), _EMPTY) for column in columns]
        if row.method == benchmark.baseline and own[len(tasks)]["value"]:
            own[len(tasks)] |= {"text": "0", "sd": "", "more": ""}  # by definition, so without a spread
        own += [_tuning_cell(getattr(row, name), scale) for name, _, scale in tuning]
        rows.append(_row(row, own, marks, benchmark))
    _separate_trivial(rows)
    return {"columns": head, "rows": rows, "legend": [*_legend(shown), *_chosen(shown)]}


def _tuning_cell(value: float, scale: int) -> dict[str, Any]:
    digits = 0 if scale == 1 else 1
    return {**_EMPTY, "text": f"{value / scale:.{digits}f}" if isfinite(value) else "–", "value": _plain(value)}


def _chosen(methods: pd.DataFrame) -> Iterator[str]:
    chosen = [f"{row.label}: {row.chosen}" for row in methods.itertuples() if isinstance(row.chosen, str)]
    if chosen:
        yield "Chosen by the loss on validation images: " + "; ".join(chosen) + "."


def _ablation(
    tables: dict[str, pd.DataFrame], benchmark: Benchmark, tasks: Sequence[Task], marks: dict[str, str]
) -> dict[str, Any]:
    methods, compared = tables["methods"], tables["comparisons"]
    shown = pd.concat([methods[methods.method == benchmark.reference], methods[methods.family == "ablation"]])
    columns = [*_task_columns(tasks), (MULTI_TASK, "delta_m")]
    head = [_column(task, metric, tasks, benchmark) for task, metric in columns]
    head.append({"title": "Change of Δm", "detail": "% against the reference", "first": "descending"})
    cells = _marked(_cells(tables["summary"], "rank_ablation"), methods)
    changes = {}
    if len(compared):
        family = compared[compared.family == f"{benchmark.reference}/delta_m"]
        shown_as = display(MULTI_TASK, "delta_m")
        changes = {
            row.method: {
                **_EMPTY,
                "text": shown_as.number(row.improvement, signed=True),
                "value": _plain(row.improvement),
                "more": shown_as.interval(row.low, row.high),
            }
            for row in family.itertuples()
        }
    rows = [
        _row(
            row,
            [*(cells.get((row.method, *column), _EMPTY) for column in columns), changes.get(row.method, _EMPTY)],
            marks,
            benchmark,
        )
        for row in shown.itertuples()
    ]
    return {"columns": head, "rows": rows, "legend": list(_legend(shown))}


_EMPTY: Final = {"text": "–", "value": "", "sd": "", "more": "", "mark": ""}


def _task_columns(tasks: Sequence[Task]) -> list[tuple[str, str]]:
    return [(task.name, task.metric) for task in tasks]


def _column(task: str, metric: str, tasks: Sequence[Task], benchmark: Benchmark) -> dict[str, str]:
    shown = display(task, metric)
    label = shown.label_for(benchmark.evaluation)
    known = {each.name: each for each in tasks}
    higher = COHERENCE_METRICS.get(metric, known[task].higher_is_better if task in known else task == MULTI_TASK)
    title = known[task].label if task in known else label.capitalize() if task == COST else label
    parts = [label] if task in known else []
    detail = " ".join([*parts, shown.unit, "↑" if higher else "↓"]).strip()
    return {"title": title, "detail": detail, "first": "descending" if higher else "ascending"}


def _cells(summary: pd.DataFrame, rank: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return {(method, task, metric): cell} of the primary selection and output, and of the costs."""
    primary = summary[((summary.selection == "last") & (summary.output == "final")) | (summary.task == COST)]
    return {(row.method, row.task, row.metric): _cell(row, getattr(row, rank)) for row in primary.itertuples()}


def _marked(
    cells: dict[tuple[str, str, str], dict[str, Any]], methods: pd.DataFrame
) -> dict[tuple[str, str, str], Any]:
    """Add the mark of trouble to the cells of tasks that a method never trained, and to its change over all tasks."""
    flags = {row.method: _flags(row) for row in methods.itertuples()}

    def untrained(method: str, task: str) -> bool:
        prefix = UNTRAINED if task == MULTI_TASK else f"{UNTRAINED}{task}"
        return any(flag.startswith(prefix) for flag in flags[method])

    return {
        (method, task, metric): {**cell, "text": cell["text"] + _FLAG_MARK} if untrained(method, task) else cell
        for (method, task, metric), cell in cells.items()
    }


def _cell(row: Any, place: Any) -> dict[str, Any]:
    shown, change = display(row.task, row.metric), row.task == MULTI_TASK
    return {
        "text": shown.number(row.mean, signed=change),
        "value": _plain(row.mean),
        "sd": shown.number(row.sd) if isfinite(row.sd) and row.task != COST else "",
        "more": shown.interval(row.low, row.high) if change and isfinite(row.low) else "",
        "mark": {1: "best", 2: "runner-up"}.get(place, "") if pd.notna(place) else "",
    }


def _row(row: Any, cells: list[dict[str, Any]], marks: dict[str, str], benchmark: Benchmark) -> dict[str, Any]:
    kind = "trivial" if row.family == "trivial" else "reference" if row.method == benchmark.reference else ""
    note = "" if row.finished == row.seeds else f"n = {row.finished}"
    return {"label": row.label, "mark": marks[row.method], "kind": kind, "note": note, "cells": cells, "rule": False}


def _separate_trivial(rows: list[dict[str, Any]]) -> None:
    first = next((row for row in rows if row["kind"] == "trivial"), None)
    if first:
        first["rule"] = True


def _coherence(
    tables: dict[str, pd.DataFrame], benchmark: Benchmark, tasks: Sequence[Task], marks: dict[str, str]
) -> dict[str, Any] | None:
    """Return the table of coherence between tasks, the truths' own as its last row; None without such numbers."""
    summary = tables["summary"]
    own = summary[(summary.task == COHERENCE) & (summary.selection == "last")]
    if own.empty:
        return None
    columns = [*((COHERENCE, metric) for metric in dict.fromkeys(own.metric)), (MULTI_TASK, "delta_coherence")]
    cells = _cells(summary, "rank")
    rows = [
        _row(row, [cells.get((row.method, *column), _EMPTY) for column in columns], marks, benchmark)
        for row in tables["methods"].itertuples()
    ]
    truth = own[own.output == TRUTH].drop_duplicates("metric")
    ceiling = {row.metric: {**_cell(row, ""), "sd": ""} for row in truth.itertuples()}
    last = {"label": "the truths themselves", "mark": "", "kind": "trivial", "note": "ceiling", "rule": True}
    rows.append({**last, "cells": [ceiling.get(metric, _EMPTY) for _, metric in columns]})
    return {
        "columns": [_column(task, metric, tasks, benchmark) for task, metric in columns],
        "rows": rows,
        "legend": [],
    }


def _further(
    tables: dict[str, pd.DataFrame], tasks: Sequence[Task], marks: dict[str, str], benchmark: Benchmark
) -> list[dict[str, Any]]:
    """Return what stands beside the primary numbers: all metrics, other selections, other outputs."""
    summary, methods = tables["summary"], tables["methods"]
    numbers = summary[summary.task != COST]
    found = []
    for (selection, output), rows in numbers[numbers.output != TRUTH].groupby(["selection", "output"], sort=False):
        main = (selection, output) == ("last", "final")
        primary = {(task.name, task.metric) for task in tasks} | {(MULTI_TASK, "delta_m")}
        columns = list(dict.fromkeys(zip(rows.task, rows.metric, strict=True)))
        if not main:
            columns = [column for column in columns if column in primary]
        cells = _marked({(row.method, row.task, row.metric): _cell(row, "") for row in rows.itertuples()}, methods)
        shown = methods[methods.method.isin(rows.method)]
        table = {
            "legend": [],
            "columns": [_column(task, metric, tasks, benchmark) for task, metric in columns],
            "rows": [
                _row(row, [cells.get((row.method, *column), _EMPTY) for column in columns], marks, benchmark)
                for row in shown.itertuples()
            ],
        }
        title = (
            "All metrics, last epoch"
            if main
            else f"{_SELECTIONS.get(selection, selection)}, {OUTPUTS.get(output, output)}"
        )
        found.append({"title": title, "table": table})
    return found


# --- Claims and comparisons --------------------------------------------------------------------------------------


def _families(
    compared: pd.DataFrame, benchmark: Benchmark, labels: dict[str, str], marks: dict[str, str]
) -> list[dict[str, Any]]:
    known = {(each.task, each.metric): name for name, each in measures(benchmark).items()}
    names = {
        task.name: f"{task.label} ({display(task.name, task.metric).label})" for task in benchmark_tasks(benchmark)
    }
    families = []
    if compared.empty:
        return families
    for _, rows in compared.groupby("family", sort=False):
        first = rows.iloc[0]
        shown = difference(first.task, first.metric)
        measure = names.get(known[first.task, first.metric], display(first.task, first.metric).label)
        families.append(
            {
                "title": f"{measure}, against {labels[first.reference]}",
                "note": f"{first.family_size} comparisons · least n {first.least_n} · "
                f"ROPE ±{shown.number(first.rope)} {shown.unit}",
                "rows": [_compared(row, labels, marks) for row in rows.itertuples()],
            }
        )
    return families


def _compared(row: Any, labels: dict[str, str], marks: dict[str, str]) -> dict[str, Any]:
    shown = difference(row.task, row.metric)
    mixed = " (mixed environments)" if row.environments == "mixed" else ""
    return {
        "label": labels[row.method] + mixed,
        "mark": marks[row.method],
        "improvement": shown.number(row.improvement, signed=True),
        "value": _plain(row.improvement),
        "sd": shown.number(row.sd) if isfinite(row.sd) else "",
        "interval": shown.interval(row.low, row.high),
        "holm_interval": shown.interval(row.holm_low, row.holm_high),
        "image_interval": shown.interval(row.image_low, row.image_high),
        "p": probability(row.p),
        "p_value": _plain(row.p),
        "p_holm": probability(row.p_holm),
        "p_holm_value": _plain(row.p_holm),
        "improves": probability(row.probability_of_improvement),
        "improves_value": _plain(row.probability_of_improvement),
        "n": row.n,
        "detectable": shown.number(row.detectable),
        "detectable_value": _plain(row.detectable),
        "conclusion": row.conclusion,
        **posterior(row),
    }


def _statistics_note(tables: dict[str, pd.DataFrame]) -> str:
    compared = tables["comparisons"]
    if compared.empty:
        return "Nothing to compare: the grid holds neither the reference nor the baseline beside other methods."
    most, least, size = int(compared.n.max()), int(compared.least_n.max()), int(compared.family_size.max())
    verdict = (
        f"the {most} of this grid can therefore not conclude anything, however large a difference looks."
        if most < least
        else f"this grid has up to {most}."
    )
    return (
        f"All comparisons are paired by seed. The exact test needs at least {least} seeds before a family of {size} "
        f"comparisons can be concluded at 5 % after Holm's correction; {verdict}"
    )


# --- Pictures, literature, provenance ----------------------------------------------------------------------------


def _samples(
    root: Path, name: str, tables: dict[str, pd.DataFrame], labels: dict[str, str], first: str
) -> list[dict[str, Any]]:
    """Return the prediction sheets: best, median and worst image, then those of each method, `first` before all others.

    They are embedded as WebP, a quarter of the stored PNG's size, as far as the page's budget goes.
    """
    provenance = tables["provenance"]
    finished = provenance[provenance.status == "finished"].sort_values("seed", kind="stable")
    sheets: list[tuple[str, str, Path]] = [
        (f"By Δm of the image alone, {each.words}", f"{labels[each.method]}, {each.place} image", each.path)
        for each in extremes(root, name, tables["images"], provenance)
        if each.path.exists()
    ]
    for method in sorted(labels, key=lambda each: each != first):
        for run in finished[finished.method == method].head(1).itertuples():
            folder = run_folder(root, name, method, run.seed, run.train_key) / SAMPLES
            title = f"{labels[method]}, seed {run.seed}"
            sheets += [(title, f"{labels[method]}, {path.stem}", path) for path in sorted(folder.glob("*.png"))]
    groups: dict[str, list[dict[str, str]]] = {}
    spent = 0
    for title, what, path in sheets:
        content = _webp(path)
        spent += len(content)
        if spent > _SAMPLE_BUDGET:
            break
        source = "data:image/webp;base64," + base64.b64encode(content).decode()
        alt = f"Image, truth, prediction and error by task: {what}"
        groups.setdefault(title, []).append({"source": source, "alt": alt, "caption": what})
    return [{"title": title, "images": images} for title, images in groups.items()]


def _webp(path: Path) -> bytes:
    buffer = BytesIO()
    try:
        with Image.open(path) as picture:
            picture.save(buffer, "webp", quality=82)
    except OSError as error:
        raise UserError(f"{path} is damaged ({error}): remove it and evaluate the run again") from error
    return buffer.getvalue()


def _samples_note(benchmark: Benchmark, with_images: bool) -> str:
    if benchmark.rendered is None and not with_images:
        return "Real photographs are not embedded; `mtcp report --with-images` makes a local report that has them."
    return (
        f"The {', '.join(PLACES[:-1])} and {PLACES[-1]} image by Δm of the image alone (images.csv), reference beside "
        "baseline, then the first images of the test list, whatever they show; each network at its first finished seed."
    )


def _literature(published: pd.DataFrame) -> dict[str, Any] | None:
    if published.empty:
        return None
    published = published.assign(column=published.task + " " + published.metric)
    columns = list(dict.fromkeys(published.column))
    rows = []
    for (method, backbone, source), group in published.groupby(["method", "backbone", "source"], sort=False):
        values = dict(zip(group.column, group.value, strict=True))
        cells = [f"{values[column]:g}" if column in values else "" for column in columns]
        rows.append({"method": method, "backbone": backbone, "source": source, "cells": cells})
    return {"dataset": published.dataset.iloc[0], "columns": columns, "rows": rows}


def _provenance(row: Any, labels: dict[str, str]) -> dict[str, str]:
    return {
        "method": labels[row.method],
        "seed": row.seed,
        "status": row.status,
        "reason": row.reason,
        "flags": str(row.flags).replace("_", " ").replace(";", ", "),
        "train_key": row.train_key,
        "eval_key": row.eval_key,
        "commit": str(row.commit)[:10] + ("+" if str(row.dirty) == "True" else ""),
        "data": str(row.data_digest)[:12],
        "data_note": row.data_note,
        "environment": row.environment,
        "processor": row.processor,
        "seconds": f"{row.train_seconds:.0f}" if row.train_seconds != "" else "",
        "finished": str(row.finished)[:16].replace("T", " "),
    }


def _plain(value: float) -> str:
    """Return a number for sorting; empty where there is none."""
    return f"{value:.9g}" if isfinite(value) else ""
