"""Code digests: what changes a key, and what must not."""

from pathlib import Path

import pytest

from mtcp.core.code_digest import _parsed, code_closure, code_digest
from mtcp.core.plugins import PACKAGE_ROOT
from mtcp.core.run_config import (
    AugmentationConfig,
    EncoderConfig,
    EvaluationConfig,
    LossConfig,
    TrainingConfig,
)


def digest_of(path: Path, code: str) -> str:
    path.write_text(code)
    _parsed.cache_clear()
    return code_digest([path])


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


def test_a_module_of_the_public_interface_counts(tmp_path: Path) -> None:
    (tmp_path / "plug.py").write_text("from mtcp.api import scheme, solvers\n")
    found = code_closure([tmp_path / "plug.py"])
    assert "mtcp.weighting.solvers" in found
    assert "mtcp.store.trained" not in found, "and what it does not import does not"
    for name in ("cagrad", "nash_mtl", "mgda", "aligned_mtl", "upgrad"):
        assert "mtcp.weighting.solvers" in code_closure([PACKAGE_ROOT / f"baselines/weighting/{name}.py"]), name


def test_a_users_file_beside_the_plugin_counts(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("A = 1\n")
    before = digest_of(tmp_path / "plug.py", "import helper\n")
    (tmp_path / "helper.py").write_text("A = 2\n")
    assert digest_of(tmp_path / "plug.py", "import helper\n") != before


@pytest.mark.parametrize(
    ("importing", "helper"),
    [
        ("import lib.parts", "lib/parts.py"),
        ("from lib import parts", "lib/parts.py"),
        ("from lib.parts import A", "lib/parts.py"),
        ("import lib", "lib/__init__.py"),
        ("import lib.outer", "lib/outer/core.py"),
        ("import lib.outer", "lib/parts.py"),
        ("from lib import middle", "lib/deep/parts.py"),
    ],
)
def test_a_users_package_beside_the_plugin_counts(tmp_path: Path, importing: str, helper: str) -> None:
    """Two files of one name in different folders are two modules, and imports inside of the package are followed."""
    folder = tmp_path / "plugins"
    for name in ("lib/__init__.py", "lib/parts.py", "lib/deep/__init__.py", "lib/deep/parts.py", "lib/outer/core.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("A = 1\n")
    (folder / "lib/middle.py").write_text("from . import parts\nfrom .deep.parts import A\n")
    (folder / "lib/outer/__init__.py").write_text("from .core import A\nfrom ..parts import A\n")
    before = digest_of(folder / "plug.py", f"{importing}\n")
    (folder / helper).write_text("A = 2\n")
    assert digest_of(folder / "plug.py", f"{importing}\n") != before


def test_the_helper_of_a_linked_plugin_is_the_one_beside_the_link(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "plugins").mkdir()
    (tmp_path / "shared/plug.py").write_text("import _power\n")
    (tmp_path / "shared/_power.py").write_text("A = 1\n")
    (tmp_path / "plugins/_power.py").write_text("A = 1\n")
    link = tmp_path / "plugins/plug.py"
    link.symlink_to(tmp_path / "shared/plug.py")
    before = code_digest([link])
    (tmp_path / "plugins/_power.py").write_text("A = 2\n")
    assert code_digest([link]) != before


def test_training_reaches_what_it_computes_with_and_nothing_that_judges_it() -> None:
    reached = set(code_closure([PACKAGE_ROOT / "mtcp/training/loop.py"]))
    assert {
        "mtcp.training.losses",
        "mtcp.data.loading.batches",
        "mtcp.data.loading.augment",
        "mtcp.weighting.base",
    } <= reached
    strangers = [name for name in reached if name.split(".")[1:2] in (["metrics"], ["report"], ["cli"], ["evaluation"])]
    assert strangers == [], "correcting a metric would train every network again"
    schemes = [name for name in reached if name.startswith("baselines")]
    assert schemes == [], "adding a baseline would train every network again"


def test_evaluation_reaches_the_metrics_and_no_report() -> None:
    reached = set(code_closure([PACKAGE_ROOT / "mtcp/evaluation/evaluate.py"]))
    assert any(name.startswith("mtcp.metrics") for name in reached)
    assert not any(name.startswith(("mtcp.report", "mtcp.cli", "mtcp.store.runs")) for name in reached)


def test_a_configuration_decides_nothing_that_its_values_do_not_say() -> None:
    """Code of these classes is in no key, only their values are: what is derived from them belongs to other modules."""
    for model in (EncoderConfig, TrainingConfig, LossConfig, AugmentationConfig, EvaluationConfig):
        own = {name for name, value in vars(model).items() if callable(value) and not name.startswith("_")}
        assert own == set(), model


def test_the_choice_of_the_networks_that_are_kept_counts() -> None:
    for entry in ("mtcp/training/loop.py", "mtcp/evaluation/evaluate.py"):
        assert "mtcp.core.snapshots" in code_closure([PACKAGE_ROOT / entry])
