"""The content of a report for the templates, as text and numbers that are looked up in the tables and formatted."""

from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from altair.utils.schemapi import debug_mode

from mtcp.analysis.comparisons import primary
from mtcp.analysis.fixed_weights import sweep
from mtcp.analysis.rows import rows_of
from mtcp.analysis.stopping import rule
from mtcp.analysis.tables import read_table
from mtcp.core.ledger import load_ledger
from mtcp.core.project import Project
from mtcp.core.project_files import LEDGER, LITERATURE, TABLES
from mtcp.report import breakdown_figures, figures, head, results, sources
from mtcp.report.families import families, statistics_note
from mtcp.report.glossary import glossary
from mtcp.report.page import Page
from mtcp.report.paper_tables import paper_view
from mtcp.report.samples import samples, samples_note
from mtcp.report.verdicts import OUTPUTS, claim_view, tally, verdict_groups
from mtcp.store.integrity import require_stamped


def build_view(root: Path, name: str, private: bool = False) -> dict[str, Any]:
    """Return everything that the templates show for benchmark `name`; raises `UserError` where a table is missing.

    A `private` page also has predictions on real photographs.
    """
    folder = root / TABLES / name
    for stamp in folder.glob("grid-*.stamp"):
        require_stamped(stamp)
    page = Page.read(Project(root), name)
    published = folder / f"{LITERATURE}.csv"
    view = {
        **_head(page),
        "private": private and page.benchmark.rendered is None,
        **_claims(page),
        "comparison": results.comparison(page),
        "ablation": results.ablation(page),
        "coherence": results.coherence(page),
        "further": results.further(page),
        "families": families(page),
        "statistics_note": statistics_note(page.tables["comparisons"]),
        **_charts(page),
        "samples": samples(page) if page.benchmark.rendered or private else [],
        "samples_note": samples_note(page.benchmark, private),
        "literature": sources.literature(read_table(published)) if published.exists() else None,
        "paper": paper_view(page.tables["paper"], name, page.benchmark, page.baseline_label),
        "ledger": load_ledger(root / LEDGER) if page.about_paper else [],
        "configuration": yaml.safe_dump(page.benchmark.model_dump(mode="json", exclude_none=True), sort_keys=False),
        "provenance": sources.provenance(page),
    }
    return {**view, "sections": _sections(view)}


def _head(page: Page) -> dict[str, Any]:
    benchmark, title = page.benchmark, page.project.params.title
    return {
        "name": page.name,
        "title": f"{title}: {benchmark.label}" if title else benchmark.label,
        "subtitle": head.subtitle(page),
        "facts": head.facts(page),
        "notes": list(head.notes(page)),
        "reference": benchmark.reference,
        "baseline": benchmark.baseline,
        "baseline_label": page.baseline_label,
        "rope": f"{benchmark.delta_m_rope:g}",
        "task_labels": [task.label for task in page.tasks],
        "stopping_rule": rule(page.project.params),
        "about_paper": page.about_paper,
        "words": glossary(benchmark, page.about_paper),
        "winners": _winners(page.methods, page.tables["ranks"], page.tables["summary"]),
    }


def _claims(page: Page) -> dict[str, Any]:
    claims, pairs = page.tables["claims"], page.tables["pairs"]
    return {
        "tally": tally(claims),
        "verdict_groups": verdict_groups(page),
        "not_run": [
            claim_view(row, pairs[:0], page.labels, page.benchmark) for row in rows_of(claims) if not row.n > 0
        ],
    }


@debug_mode(False)  # validation of their parts takes two seconds per page
def _charts(page: Page) -> dict[str, Any]:
    tables, methods, tasks, baseline = page.tables, page.methods, page.tasks, page.benchmark.baseline
    multi_task, summary, curves = tables["multi_task"], tables["summary"], tables["curves"]
    forest = (
        figures.delta_m_chart(multi_task, summary, methods, page.benchmark.delta_m_rope) if len(multi_task) else None
    )
    return {
        "chartable": methods[methods.family != "trivial"][["method", "label"]].to_dict("records"),
        "forest": _chart(forest),
        "by_claim": _chart(figures.claims_chart(tables["claims"])),
        "trade_off": _chart(figures.trade_off_chart(summary, methods, "seconds_per_image")),
        "sweep": figures.sweep_charts(sweep(summary, methods, tasks), page.benchmark),
        "by_output": _chart(figures.outputs_chart(multi_task, methods, OUTPUTS)),
        "changes": _chart(breakdown_figures.changes_chart(tables["changes"], methods, tasks, baseline)),
        "classes": breakdown_figures.class_charts(tables["classes"], methods, tasks, baseline),
        "ranks": _chart(breakdown_figures.ranks_chart(tables["ranks"], methods)),
        "strips": figures.seed_charts(tables["runs"], methods, page.benchmark),
        "losses": figures.loss_charts(curves, methods, tasks),
        "weights": figures.weight_charts(curves, methods, tasks),
        "gradients": figures.gradient_charts(curves, methods),
    }


def _chart(spec: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if spec is None else {"title": "", "spec": spec}


def _winners(methods: pd.DataFrame, ranks: pd.DataFrame, summary: pd.DataFrame) -> str:
    """Return which methods single seeds rank best, and how often that differs from the best by the mean over all.

    Empty if fewer than two seeds were ranked.
    """
    won = methods[methods.wins > 0].sort_values("wins", ascending=False, kind="stable")
    total = int(won.wins.sum())
    if total < 2:
        return ""
    changes = primary(summary[(summary.metric == "delta_m") & summary.method.isin(ranks.method)])
    best = next(rows_of(methods[methods.method == changes.set_index("method")["mean"].idxmax()]))
    parts = ", ".join(f"{row.label} for {row.wins} of {total} seeds" for row in won.itertuples())
    over = "all seeds" if (changes.n == total).all() else "all seeds that a method has"
    if best.wins == total:
        return f"{parts}, as by the mean over {over}."
    return f"{parts}. By the mean over {over}: {best.label}, unlike {total - best.wins} of {total} single seeds."


def _sections(view: dict[str, Any]) -> list[tuple[str, str]]:
    """Return anchor and title of the sections that have something to show."""
    sections = (
        ("verdicts", "Verdicts", True),
        ("comparison", "Comparison", True),
        ("charts", "Seed by seed", view["forest"] or view["strips"] or view["losses"]),
        ("ablation", "Ablation", len(view["ablation"]["rows"]) > 1),
        ("coherence", "Coherence", view["coherence"]),
        ("statistics", "Statistics", True),
        ("training", "Training", view["losses"] or view["weights"] or view["gradients"]),
        ("predictions", "Predictions", True),
        ("literature", "Literature", view["literature"]),
        ("paper", "For a paper", view["paper"]),
        ("ledger", "Ledger", view["ledger"]),
        ("provenance", "Provenance", True),
    )
    return [(anchor, title) for anchor, title, there in sections if there]
