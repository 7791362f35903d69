"""Digests: what changes a key, and what must not."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtcp import provenance
from mtcp.plugins import PACKAGE_ROOT


def digest_of(path: Path, code: str) -> str:
    path.write_text(code)
    provenance._parsed.cache_clear()
    return provenance.code_digest([path])


@pytest.mark.parametrize(
    "same",
    [
        "def f(x):\n    return x + 1  # a comment\n",
        'def f(x):\n    """A docstring."""\n    return x + 1\n',
        "def f(\n    x,\n):\n    return (x + 1)\n",
    ],
)
def test_comments_docstrings_and_layout_change_no_key(tmp_path: Path, same: str) -> None:
    assert digest_of(tmp_path / "m.py", "def f(x):\n    return x + 1\n") == digest_of(tmp_path / "m.py", same)


@pytest.mark.parametrize(
    "other", ["def f(x):\n    return x + 2\n", "def f(x):\n    return x - 1\n", "def g(x):\n    return x + 1\n"]
)
def test_code_changes_the_key(tmp_path: Path, other: str) -> None:
    assert digest_of(tmp_path / "m.py", "def f(x):\n    return x + 1\n") != digest_of(tmp_path / "m.py", other)


def test_a_users_file_beside_the_plugin_counts(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("A = 1\n")
    before = digest_of(tmp_path / "plug.py", "import helper\n")
    (tmp_path / "helper.py").write_text("A = 2\n")
    assert digest_of(tmp_path / "plug.py", "import helper\n") != before


def test_training_reaches_what_it_computes_with_and_nothing_that_judges_it() -> None:
    reached = set(provenance.code_closure([PACKAGE_ROOT / "mtcp/training.py"]))
    assert {"mtcp.losses", "mtcp.data.loading", "mtcp.data.augment", "mtcp.weighting.base"} <= reached
    strangers = [name for name in reached if name.split(".")[1:2] in (["metrics"], ["report"], ["cli"], ["evaluation"])]
    assert strangers == [], "mending a metric would train every network again"
    schemes = [name for name in reached if name.startswith("baselines")]
    assert schemes == [], "adding a baseline would train every network again"


def test_evaluation_reaches_the_metrics_and_no_report() -> None:
    reached = set(provenance.code_closure([PACKAGE_ROOT / "mtcp/evaluation.py"]))
    assert any(name.startswith("mtcp.metrics") for name in reached)
    assert not any(name.startswith(("mtcp.report", "mtcp.cli", "mtcp.store")) for name in reached)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()))
def test_a_digest_ignores_the_order_of_keys(content: dict) -> None:
    assert provenance.digest(content) == provenance.digest(dict(reversed(content.items())))


def test_differences_name_what_changed_and_only_that() -> None:
    old = {"config": {"training": {"epochs": 10}, "seed": 0}, "code": "a" * 64}
    new = {"config": {"training": {"epochs": 12}, "seed": 0}, "code": "b" * 64}
    assert provenance.differences(old, new) == [
        "code: aaaaaaaaaaaa -> bbbbbbbbbbbb",
        "config.training.epochs: 10 -> 12",
    ]
