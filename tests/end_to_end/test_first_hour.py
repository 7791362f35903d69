"""The first hour with the project: examples of the help texts, a study of one's own, plug-ins from templates."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from mtcp.cli import _register, app

pytestmark = pytest.mark.slow

#: What an example needs that a test does not have: a data set or numbers from elsewhere, a photograph, a quiet machine.
NEEDS = {"~/", "https://", "photograph.jpg", "nyuv2_13", "mtcp benchmark"}


def commands(group, prefix: tuple[str, ...] = ()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))
        yield " ".join((*prefix, name)), command


def examples() -> list[str]:
    if not app.registered_commands:
        _register()
    found = []
    for _, command in commands(get_command(app)):
        for line in re.findall(r"Examples?: (.*?)(?:\n\n|$)", command.help or "", flags=re.DOTALL):
            found += [" ".join(part.split()) for part in re.split(r"; (?=mtcp )| && ", line)]
    return [example for example in found if example.startswith("mtcp ")]


def test_every_command_that_takes_arguments_shows_an_example() -> None:
    if not app.registered_commands:
        _register()
    without = [
        name
        for name, command in commands(get_command(app))
        if any(parameter.param_type_name == "argument" and parameter.required for parameter in command.params)
        and not re.search(r"Examples?: ", command.help or "")
    ]
    assert without == []


def test_help_survives_its_markup() -> None:
    from typer.testing import CliRunner

    if not app.registered_commands:
        _register()
    shown = CliRunner().invoke(app, ["schemes", "new", "--help"], terminal_width=200).output
    assert "[a-z0-9_]+" in shown


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, small_project):
    """A small project in which nothing was run."""
    return small_project(tmp_path_factory.mktemp("clone"))


def test_examples_work_as_printed_in_a_fresh_clone(clone) -> None:
    """One after another, what trains first, as a reader of the help texts would; `train` prepares the data."""
    chosen = [one for one in examples() if not any(word in one for word in NEEDS) and "results/runs/..." not in one]
    order = ("mtcp train", "mtcp evaluate")
    chosen.sort(key=lambda one: next((k for k, first in enumerate(order) if one.startswith(first)), len(order)))
    assert len(chosen) >= 10
    clone.edit("params.yaml", methods=["mtcp"], seeds=[0])
    for example in dict.fromkeys(chosen):
        if example.startswith(("mtcp choose", "mtcp archive")):
            continue  # a benchmark with a budget, and a finished grid: tests of these run them
        done = clone.run(*shlex.split(example))
        assert done.returncode == 0, f"{example}: {done.stderr}"


def test_a_study_of_ones_own_uses_the_workflow_as_a_module(tmp_path: Path, project_at) -> None:
    done = project_at(tmp_path).mtcp("init", "my_study")
    assert done.returncode == 0, done.stderr
    study = project_at(tmp_path / "my_study")
    planned = study.run("snakemake", "-n")
    assert planned.returncode == 0, planned.stderr
    assert re.search(r"train_and_evaluate +9", planned.stdout + planned.stderr)
    refused = study.run("snakemake", "-n", "--config", "seeds=[0]")
    assert refused.returncode != 0
    assert "read from params.yaml alone" in refused.stdout + refused.stderr
    again = project_at(tmp_path).mtcp("init", "my_study")
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    "command", [("schemes", "new", "mine"), ("schemes", "new", "mine", "--gradient"), ("architectures", "new", "mine")]
)
def test_a_plug_in_from_a_template_passes_its_own_test(project, command: tuple[str, ...]) -> None:
    done = project.mtcp(*command)
    assert done.returncode == 0, done.stderr
    tested = project.run("pytest", "-q", "-p", "no:cacheprovider", "plugins/tests/test_mine.py")
    assert tested.returncode == 0, tested.stdout
    assert project.mtcp(*command).returncode == 2, "nothing is overwritten"


def test_all_methods_of_one_seed_come_before_the_next_seed(project) -> None:
    shown = project.run("snakemake", "-n", "--until", "train_and_evaluate").stdout
    jobs = re.findall(r"rule train_and_evaluate:.*?seed=(\d+).*?priority: (\d+)", shown, flags=re.DOTALL)
    assert sorted(jobs) == [("0", "2"), ("0", "2"), ("1", "1"), ("1", "1")]
