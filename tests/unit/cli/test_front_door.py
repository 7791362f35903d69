"""The command itself: what the system refuses is one sentence with exit status 2, and odd arguments start nothing."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mtcp import cli
from mtcp.cli import init
from mtcp.core.errors import UserError

COMMAND = (sys.executable, "-m", "mtcp")


@pytest.fixture
def project(tmp_path: Path, root: Path) -> Path:
    shutil.copytree(root / "config", tmp_path / "config")
    (tmp_path / "params.yaml").write_text("benchmarks: [rooms]\nmethods: [mtcp]\nseeds: [0]\n")
    return tmp_path


@pytest.fixture(scope="module")
def command() -> Iterator[typer.Typer]:
    """The whole command line, in this process: a process of its own takes a second for each call."""
    before = cli.app.registered_commands[:], cli.app.registered_groups[:]
    cli._register()
    yield cli.app
    cli.app.registered_commands[:], cli.app.registered_groups[:] = before


def refusal(command: typer.Typer, *arguments: str) -> str:
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, UserError) or result.exit_code == 2, result.exception
    return str(result.exception) if isinstance(result.exception, UserError) else result.output


def test_a_file_where_a_folder_belongs(project: Path) -> None:
    (project / "data").write_text("a file")
    done = subprocess.run(
        [*COMMAND, "data", "render", "rooms"], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("mtcp: ")
    assert "Traceback" not in done.stderr
    assert "a file, folder or link of that name stands in the way: move it" in done.stderr


@pytest.mark.slow
def test_a_full_disk_behind_the_output_is_told(project: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "schemes", "--json"], cwd=project, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_reader_that_has_enough_is_no_error(project: Path) -> None:
    reading = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reading.wait()
    done = subprocess.run(
        [*COMMAND, "schemes", "--json"],
        cwd=project,
        stdout=reading.stdin,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")


def test_a_mistake_is_told_where_no_output_is_open(project: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m mtcp show benchmark nope >&-"],
        cwd=project, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("mtcp: unknown benchmark 'nope'")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("data", "render", "../x"), "'../x' is not a name"),
        (("data", "import", "", "/tmp"), "'' is not a name"),
        (("data", "fetch", "attic", "--url", "http://localhost:9/a.tgz"), "the layout of 'attic' is unknown"),
        (("show", "benchmark", "../benchmarks/rooms"), "unknown benchmark"),
        (("train", "roms", "mtcp", "--seed", "0"), "unknown benchmark 'roms'"),
        (
            ("train", "rooms", "mtcq", "--seed", "0"),
            "unknown method 'mtcq' in config/methods.yaml; did you mean 'mtcp'",
        ),
        (
            ("train", "rooms", "default", "--seed", "0"),
            "'default' is a grid (config/grids.yaml), not a method: name one of its methods, trivial_prior, ",
        ),
        (("train", "rooms", "mtcp", "--seed", "0", "--threads", "100000"), "--threads"),
        (("train", "rooms", "mtcp", "--seed", "99999999999999999999"), "--seed"),
        (("watch", "--every", "inf"), "--every"),
        (("archive", "nope", "--renew"), "results/reference has no archive 'nope' to renew"),
        (("archive", ".", "--renew"), "results/reference has no archive '.' to renew"),
        (("data", "show", "rooms", "-o", "sheet.jpg"), "let its name end in .png"),
        (("evaluate", "rooms", "--checkpoint", "nope"), "--checkpoint nope is no file"),
        (("evaluate", "rooms", "--checkpoint", "nope", "--train"), "leave out --train"),
        (("evaluate", "rooms", "--checkpoint", "nope", "--key", "0"), "leave out --key"),
        (("evaluate", "rooms", "--checkpoint", "nope", "--seed", "1"), "leave out --seed"),
        (("evaluate", "rooms", "mtcp"), "which run of mtcp? name its --seed"),
        (("evaluate", "rooms", "mtcp", "--seed", "1", "--json"), "--json prints the metrics of a --checkpoint"),
        (("report", "--compare", "a", "b", "--pdf"), "--compare A B goes with no other option"),
        (("literature", "nyuv2_13", "--json", "--format", "html"), "two forms of one output"),
        (("init", "x" * 300), "is too long for a name"),
    ],
)
def test_an_odd_argument_is_one_sentence_and_writes_nothing(
    command: typer.Typer, project: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(project)
    before = sorted(project.rglob("*"))
    assert said in refusal(command, *arguments)
    assert sorted(project.rglob("*")) == before


def write_benchmark(project: Path, name: str, line: str = "") -> None:
    """A benchmark like `rooms`, with `line` as the third of its file."""
    (project / f"config/benchmarks/{name}.yaml").write_text(f"extends: rooms\nlabel: {name.title()}\n{line}\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("baseline: singletask", "key 'baseline': unknown method 'singletask'"),
        ("reference: mtpc", "key 'reference': unknown method 'mtpc'; did you mean 'mtcp"),
        ("scheme_parameters: {lsp: {kappa: 1}}", "key 'scheme_parameters.lsp': unknown scheme 'lsp'; did you mean"),
        ("data: rooms\nheight: 96", "key 'data': data/rooms is shared with benchmark '"),
    ],
)
def test_a_benchmark_is_shown_only_where_it_can_be_planned(
    command: typer.Typer, project: Path, monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    write_benchmark(project, "own", line)
    monkeypatch.chdir(project)
    assert said in refusal(command, "show", "benchmark", "own")


def test_a_benchmark_does_not_fail_for_the_mistake_of_another(
    command: typer.Typer, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_benchmark(project, "own")
    write_benchmark(project, "unused", "colour: red")
    monkeypatch.chdir(project)
    assert CliRunner().invoke(command, ["show", "benchmark", "own"]).exit_code == 0
    assert "unused.yaml, line 3, key 'colour': unknown key" in refusal(command, "show", "benchmark", "unused")


def test_a_parameter_that_a_plug_in_does_not_take_is_named_with_its_file(
    command: typer.Typer, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_benchmark(project, "own", "scheme_parameters: {lps: {kapa: 1}}")
    methods = project / "config/methods.yaml"
    methods.write_text(
        methods.read_text() + "\nmine:\n  extends: mtcp\n  label: Mine\n  scheme: {name: lps, kapa: 1}\n"
    )
    monkeypatch.chdir(project)
    said = "unknown key; did you mean 'kappa'?"
    assert f"own.yaml, line 3, key 'scheme_parameters.lps.kapa': scheme 'lps': {said}" in refusal(
        command, "show", "benchmark", "own"
    )
    line = len(methods.read_text().splitlines())
    assert f"methods.yaml, line {line}, key 'mine.scheme.kapa': scheme 'lps': {said}" in refusal(
        command, "show", "method", "mine"
    )


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        ("{kind: timm, model: resnet1000}", "key 'encoder.model': timm has no model 'resnet1000'; did you mean"),
        ("{kind: timm, model: resnet10t, args: {stem: 8}}", "key 'encoder.args': timm cannot build 'resnet10t'"),
    ],
)
def test_a_check_names_the_file_of_a_faulty_encoder(
    command: typer.Typer, project: Path, monkeypatch: pytest.MonkeyPatch, encoder: str, said: str
) -> None:
    write_benchmark(project, "own", f"encoder: {encoder}")
    (project / "params.yaml").write_text("benchmarks: [own]\nmethods: [mtcp]\nseeds: [0]\n")
    monkeypatch.chdir(project)
    assert f"own.yaml, line 3, {said}" in refusal(command, "check", "own")
    assert "unknown benchmark 'onw' in config/benchmarks/; did you mean 'own'?" in refusal(command, "check", "onw")


def test_a_study_takes_the_plug_ins_that_its_methods_name(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "checkout/plugins"
    (own / "__pycache__").mkdir(parents=True)
    (own / "mine.py").write_text("# a scheme\n")
    monkeypatch.setattr("mtcp.core.shipped.shipped", lambda name: own if name == "plugins" else root / name)
    monkeypatch.chdir(tmp_path)
    init.init("my_study")
    assert [path.name for path in (tmp_path / "my_study/plugins").iterdir()] == ["mine.py"]


def test_a_study_keeps_in_git_what_the_suite_keeps(tmp_path: Path, root: Path) -> None:
    """Its own .gitignore lets through what others need to check results: lists of data, archives, measured speeds."""
    kept = {
        line for line in (root / ".gitignore").read_text().splitlines() if line.startswith("!/") and "test" not in line
    }
    assert kept <= set(init._GITIGNORE.splitlines())


@pytest.mark.parametrize(
    "arguments", [("data", "list"), ("data", "render", "rooms"), ("show", "benchmark", "rooms"), ("plan",), ("grid",)]
)
def test_outside_a_project_it_says_where_to_go(
    command: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "is missing: run the command from the project's folder" in refusal(command, *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_evaluation_is_not_imported_before_the_training_whose_memory_is_measured(project: Path) -> None:
    script = (
        "import sys; from mtcp.cli import evaluate as command\n"
        "command.prepare_data = lambda *arguments: None\n"
        "def trained(*arguments): sys.exit('scipy' if {'scipy', 'mtcp.evaluation'} & set(sys.modules) else 'neither')\n"
        "command._trained = trained\n"
        "command.evaluate('rooms', 'mtcp', seed=0, train=True, device='cpu')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == "neither\n"
