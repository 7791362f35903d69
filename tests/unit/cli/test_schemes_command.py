"""`mtcp schemes` and docs/schemes.md."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mtcp.cli.schemes import app
from mtcp.core import plugins
from mtcp.core.errors import UserError

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/methods.yaml").touch()
    return tmp_path


def run(*arguments):
    result = RUNNER.invoke(app, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_lists_every_scheme_with_cost_and_parameters():
    rows = {row["name"]: row for row in json.loads(run("--json"))}
    assert len(rows) >= 26
    assert rows["lps"]["parameters"] == {"kappa": "1.6", "log_projection": "True"}
    assert rows["pcgrad"]["cost"] == "gradients"
    assert rows["famo"]["cost"] == "forward"
    assert all(row["description"].endswith(".") for row in rows.values())


def test_the_table_names_them_all():
    table = run()
    assert all(name in table for name in plugins.find("scheme"))


def test_show_gives_formula_caveat_and_bounds():
    text = run("show", "lps")
    assert "w_t log(1 + l_t)" in text
    assert "Caveat: at kappa 7.5" in text
    assert "kappa: number > 0, default 1.6" in text


def test_show_of_an_unknown_name():
    with pytest.raises(UserError, match="unknown scheme 'pcgard'; did you mean 'pcgrad'"):
        run("show", "pcgard")


def test_the_documentation_is_current():
    committed = (plugins.PACKAGE_ROOT / "docs/schemes.md").read_text(encoding="utf-8")
    assert run("docs") == committed, "write it again: mtcp schemes docs > docs/schemes.md"


@pytest.mark.slow
def test_new_writes_a_scheme_that_is_listed_and_whose_test_passes(folder):
    assert "config/methods.yaml" in run("new", "my_first")
    assert "my_first" in {row["name"] for row in json.loads(run("--json"))}
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "plugins/tests"],
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    assert "2 passed" in tested.stdout, tested.stdout
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", "--isolated", "--line-length", "120", "plugins"],
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    assert formatted.returncode == 0, formatted.stdout


def test_new_overwrites_nothing(folder):
    run("new", "mine")
    before = (folder / "plugins/mine.py").read_text()
    with pytest.raises(UserError, match="scheme 'mine' exists already"):
        run("new", "mine")
    assert (folder / "plugins/mine.py").read_text() == before
    (folder / "plugins/tests/test_other.py").write_text("mine")
    with pytest.raises(UserError, match=r"test_other\.py exists already"):
        run("new", "other")
    assert not (folder / "plugins/other.py").exists()


@pytest.mark.parametrize("name", ["My", "a-b", "1st", "../x", "", "x" * 300])
def test_new_refuses_what_is_no_name(name):
    with pytest.raises(UserError, match=r"(not a|too long for a) name"):
        run("new", name)


@pytest.mark.parametrize("name", ["torch", "mtcp", "class", "json", "none", "true"])
def test_new_refuses_what_python_calls_so(folder, name):
    with pytest.raises(UserError, match=f"'{name}' is a Python keyword or the name of a module"):
        run("new", name)
    assert not (folder / "plugins").exists()


def test_new_writes_nothing_outside_a_project(folder):
    (folder / "config/methods.yaml").unlink()
    with pytest.raises(UserError, match="run the command from the project's folder"):
        run("new", "mine")
    assert not (folder / "plugins").exists()


def test_new_refuses_the_name_of_a_scheme_that_exists():
    with pytest.raises(UserError, match=r"scheme 'pcgrad' exists already, in .*pcgrad\.py"):
        run("new", "pcgrad")
