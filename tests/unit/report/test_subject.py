"""A page is about the paper only where its grid has the paper's network, or a claim to be judged cites a source."""

import re
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from mtcp.analysis.tables import write_tables
from mtcp.report.index import write_index
from mtcp.report.render import write_report
from mtcp.report.subject import about_paper
from mtcp.store.plan import Plan

OWN = {
    "id": "sharing_helps", "text": "Sharing helps.", "evidence": "own", "method": "mtl_baseline",
    "reference": "single_task",
}  # fmt: skip
#: What only a page about the paper shows.
OF_THE_PAPER = (
    "2412.03179",
    "WACV",
    "paper's claims",
    "paper's argument",
    "released code",
    "(CFM)",
    "trace-back",
    "LPS",
)


@pytest.mark.parametrize(
    ("architecture", "evidence", "n", "said"),
    [
        ("mtl_baseline", "own", 4.0, False),
        ("mtcp", "own", 4.0, True),
        ("mtl_baseline", "abstract", 0.0, True),
        ("mtl_baseline", "abstract", None, False),  # nothing here can judge it
    ],
)
def test_network_and_claims_decide(architecture: str, evidence: str, n: float | None, said: bool) -> None:
    methods = pd.DataFrame({"architecture": ["single_task", architecture]})
    claims = pd.DataFrame({"n": pd.Series([n, 4.0], dtype=float), "evidence": [evidence, "own"]})
    assert about_paper(methods, claims) == said


def visible(html: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", html, flags=re.DOTALL)))


def pages(store: Any, claims: list[dict[str, Any]], methods: tuple[str, ...]) -> list[str]:
    """The page, its LaTeX and the index of a grid of `methods` with `claims`."""
    root: Path = store.root
    (root / "config/claims.yaml").write_text(yaml.safe_dump(claims))
    plan = Plan(store.plan.project, tuple(run for run in store.plan.runs if run.method in methods))
    write_tables(plan, "rooms")
    html, tex, _ = write_report(root, "rooms")
    return [visible(html.read_text()), tex.read_text(), visible(write_index(root).read_text())]


@pytest.mark.slow
def test_a_study_of_ones_own_is_not_presented_as_the_papers(done: Any) -> None:
    page, tex, index = pages(done, [OWN], ("single_task", "mtl_baseline"))
    for words in OF_THE_PAPER:
        assert words not in page + tex + index, words
    assert "Verdicts of the declared claims" in page and "Verdicts of the declared claims" in tex
    assert "Main claims" in page
    assert "Δm · claim of this study 4 seeds behind it" in page, "and no empty source behind it"


@pytest.mark.slow
def test_a_claim_that_cites_the_paper_makes_it_the_papers(done: Any) -> None:
    cited = {**OWN, "evidence": "abstract", "source": "its abstract"}
    page, tex, index = pages(done, [cited], ("single_task", "mtl_baseline"))
    for words in OF_THE_PAPER:
        assert words in page, words
    assert "evidence: abstract · its abstract" in page
    assert "Verdicts of the paper's claims" in tex
    assert "2412.03179" in index
