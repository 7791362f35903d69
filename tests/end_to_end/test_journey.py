"""A new user's own scheme to a table: at most three files touched and five commands, as README.md says."""

import csv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FILES, COMMANDS = 3, 5


def test_a_scheme_of_ones_own_to_a_table(project) -> None:
    project.edit("params.yaml", methods=["single_task", "mtcp"], seeds=[0])
    before = contents(project.path)
    commands = 0

    def run(*command: str) -> str:
        nonlocal commands
        commands += 1
        done = project.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    told = run("mtcp", "schemes", "new", "my_scheme")
    run("pytest", "-q", "-p", "no:cacheprovider", "plugins/tests")
    entry = told.split("config/methods.yaml\n\n")[1].split("\n\n")[0]  # what the command says to append
    with (project.path / "config/methods.yaml").open("a") as file:
        file.write(f"\n{entry}\n")
    project.edit("params.yaml", methods=["single_task", "mtcp", "my_scheme"])
    run("snakemake", "--cores", "2")

    with (project.path / "results/tables/rooms/summary.csv").open() as stream:
        assert "my_scheme" in {row["method"] for row in csv.DictReader(stream)}
    assert "MT-CP network, my_scheme" in (project.path / "reports/rooms.html").read_text()
    assert commands <= COMMANDS
    touched = {path for path, text in contents(project.path).items() if before.get(path) != text}
    assert touched - {Path("plugins/tests/test_my_scheme.py")} == {
        Path("plugins/my_scheme.py"),
        Path("config/methods.yaml"),
        Path("params.yaml"),
    }
    assert len(touched) - 1 <= FILES


def contents(root: Path) -> dict[Path, bytes]:
    """The files that a user writes; results, data and logs are the workflow's."""
    folders = ("config", "plugins", "workflow", "profiles")
    files = [root / "params.yaml", *(path for folder in folders for path in (root / folder).rglob("*"))]
    return {
        path.relative_to(root): path.read_bytes()
        for path in files
        if path.is_file() and "__pycache__" not in path.parts and ".pytest_cache" not in path.parts
    }
