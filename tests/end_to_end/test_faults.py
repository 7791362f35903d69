"""Injected faults: no wrong number in any table, and no finished run lost.

One small project is trained once. Every fault is done to a copy of it, and then either everything equals what it was,
or what was damaged is named, and no table is made from it.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
import typer
import yaml
from made_up_store import Store, measure_all

from mtcp.analysis import image_bootstrap
from mtcp.analysis.tables import build_tables, to_csv, write_tables
from mtcp.analysis.verification import verify_all
from mtcp.cli import evaluate as evaluate_commands
from mtcp.cli import report as report_commands
from mtcp.cli import store as store_commands
from mtcp.cli import train as train_commands
from mtcp.core.errors import UserError
from mtcp.core.files import write_record
from mtcp.core.hashing import short_key
from mtcp.data.preparation import sets
from mtcp.evaluation import evaluate as evaluation
from mtcp.report.render import write_report
from mtcp.store import runs
from mtcp.store.integrity import require_stamped
from mtcp.store.plan import Plan, Run
from mtcp.store.records import RunRecord
from mtcp.training import loop

pytestmark = pytest.mark.slow

METHODS, SEEDS = ("single_task", "mtcp"), (0, 1)
QUIET = {"on_step": lambda step, total: None, "on_epoch": lambda row: None}


def train(root: Path, run: Run | None = None) -> RunRecord:
    """Train `run` (default mtcp, seed 0) of the project at `root`, in this process."""
    plan = Plan.load(root)
    return runs.train_run(plan, run or plan.run("rooms", "mtcp", 0), "cpu", **QUIET)


def evaluate(root: Path, run: Run | None = None) -> Path:
    plan = Plan.load(root)
    return runs.evaluate_run(plan, run or plan.run("rooms", "mtcp", 0), "cpu", 1, lambda done, total: None)


def make_tables(root: Path) -> None:
    """What the last three rules of the workflow do, by their own commands."""
    here = Path.cwd()
    os.chdir(root)
    try:
        report_commands.tables()
        report_commands.metrics()
        report_commands.report()
    finally:
        os.chdir(here)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small_project) -> Path:
    """A project whose four runs are trained, evaluated, measured, in tables and in a report."""
    root = small_project(tmp_path_factory.mktemp("finished")).path
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_bootstrap, "DRAWS", 10)
        sets.prepare(Plan.load(root).project, "rooms")
        for run in Plan.load(root).runs:
            train(root, run)
            evaluate(root, run)
        measure_all(Store(root, Plan.load(root)))
        make_tables(root)
        assert verify_all(Plan.load(root)) == []
        yield root


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished project, modification times included."""
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


# --- Ways to damage a file ---------------------------------------------------------------------------------------


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    """One bit, in a digit where the file is text, so that it still reads as a number."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    digits = [place for place in range(middle, len(content)) if 48 <= content[place] < 56]
    place = digits[0] if path.suffix in (".csv", ".json", ".html", ".tex") else middle
    content[place] ^= 1
    path.write_bytes(bytes(content))


def flipped_tensor(path: Path) -> None:
    """One bit in the largest tensor of a state, not between two of them, where nothing is written."""
    with ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        values = archive.read(largest)
    content = bytearray(path.read_bytes())
    content[content.index(values) + len(values) // 2] ^= 1
    path.write_bytes(bytes(content))


def removed(path: Path) -> None:
    path.unlink()


DAMAGES = (emptied, halved, flipped, removed)
RUN_FILES = (
    "run.json",
    "metrics-*.json",
    "images-*.npz",
    "history.csv",
    "model.safetensors",
    "model-validation.safetensors",
)
#: What tables are made from; weights are not.
READ_BY_TABLES = ("run.json", "metrics-*.json", "images-*.npz", "history.csv")
TABLES = (
    "runs", "history", "multi_task", "summary", "comparisons", "claims", "pairs", "paper", "methods", "curves",
    "changes", "classes", "images", "ranks", "provenance", "speed",
)  # fmt: skip


def directory_of(root: Path, method: str = "mtcp", seed: int = 0) -> Path:
    return Plan.load(root).run("rooms", method, seed).directory


def one(directory: Path, pattern: str) -> Path:
    (found,) = directory.glob(pattern)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def tables_of(root: Path) -> dict[str, bytes] | str:
    """The tables that the runs at `root` give now, or the sentence that refuses them."""
    try:
        tables = build_tables(Plan.load(root), "rooms")
    except UserError as error:
        return str(error)
    return {f"{name}.csv": to_csv(table).encode() for name, table in tables.items()}


def clean_tables(finished: Path) -> dict[str, bytes]:
    found = contents(finished / "results/tables/rooms")
    return {name: content for name, content in found.items() if name.endswith(".csv")}


def named(root: Path, fragment: str) -> None:
    """`mtcp verify` names the fault."""
    problems = [f"{each['where']}: {each['problem']}" for each in verify_all(Plan.load(root))]
    assert any(fragment in problem for problem in problems), problems


def nothing_lost(finished: Path, root: Path, but: Path | None = None) -> None:
    """Every run file but those in directory `but` is there with its bytes."""
    before, after = (contents(folder / "results/runs") for folder in (finished, root))
    spared = str(but.relative_to(root / "results/runs")) if but else "-"
    for name, content in before.items():
        if not name.startswith(spared) and not name.endswith(".lock"):
            assert after[name] == content, f"{name} was lost or changed"


# --- Run files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("pattern", RUN_FILES)
def test_a_damaged_run_file(copy: Path, finished: Path, pattern: str, damage: Callable) -> None:
    directory = directory_of(copy)
    path = one(directory, pattern)
    damage(path)
    tables = tables_of(copy)
    if pattern in READ_BY_TABLES:
        assert isinstance(tables, str), "tables were made from a damaged file"
        assert "mtcp/seed0" in tables
    else:
        assert tables == clean_tables(finished)
    named(copy, "is missing" if damage is removed and pattern == "run.json" else path.name)
    nothing_lost(finished, copy, but=directory)


@pytest.mark.parametrize("pattern", RUN_FILES)
def test_a_run_file_of_another_seed(copy: Path, finished: Path, pattern: str) -> None:
    path = one(directory_of(copy), pattern)
    shutil.copy(one(directory_of(copy, seed=1), pattern), path)
    tables = tables_of(copy)
    assert isinstance(tables, str) if pattern in READ_BY_TABLES else tables == clean_tables(finished)
    named(copy, "mtcp/seed0" if path.suffix == ".json" else path.name)
    nothing_lost(finished, copy, but=path.parent)


@pytest.mark.parametrize("damage", [halved, flipped])
@pytest.mark.parametrize("name", ["model.safetensors", "model-validation.safetensors"])
def test_damaged_weights_are_not_evaluated(copy: Path, damage: Callable, name: str) -> None:
    directory = directory_of(copy)
    one(directory, "metrics-*.json").unlink()
    damage(directory / name)
    with pytest.raises(UserError, match=f"{name} is not the file that was written"):
        evaluate(copy)
    assert not list(directory.glob("metrics-*.json"))


def test_metrics_resealed_by_hand(copy: Path, tmp_path: Path) -> None:
    path = one(directory_of(copy), "metrics-*.json")
    content = json.loads(path.read_text())
    del content["seal"]
    content["metrics"]["last"]["final"]["depth"]["rmse"] *= 0.5
    write_record(path, content)
    named(copy, "final depth rmse is")


# --- The state of an unfinished run ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interrupted(finished: Path, tmp_path_factory) -> Path:
    """The project with mtcp's seeds 2 and 3 stopped after their first epoch."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("interrupted") / "project"))
    for seed in (2, 3):
        plan = Plan.load(root)
        run = plan.run("rooms", "mtcp", seed)
        run.directory.mkdir()
        stopped = loop.Listeners(stop=lambda: True)
        with pytest.raises(loop.Interrupted):
            loop.train(run.config, plan.data_folder("rooms"), run.directory, "cpu", stopped)
    return root


@pytest.mark.parametrize("damage", [emptied, halved, flipped_tensor, "of another seed"])
def test_a_damaged_state_is_not_resumed(interrupted: Path, tmp_path: Path, damage) -> None:
    root = Path(shutil.copytree(interrupted, tmp_path / "project"))
    run = Plan.load(root).run("rooms", "mtcp", 2)
    state = run.directory / "state.pt"
    if damage == "of another seed":
        shutil.copy(Plan.load(root).run("rooms", "mtcp", 3).directory / "state.pt", state)
    else:
        damage(state)
    with pytest.raises(UserError, match=r"state\.pt (cannot be read|is the state of another run)"):
        train(root, run)
    assert not run.run_path.exists()
    assert run.state() == "failed"
    assert "state.pt" in run.failure_path.read_text()


# --- Tables, metrics, reports and their stamps -------------------------------------------------------------------

STAMPED = (*(f"results/tables/rooms/{name}.csv" for name in TABLES), "results/tables/metrics/rooms/mtcp.json",
           "results/tables/delta_m.csv", "reports/rooms.html", "reports/rooms.tex")  # fmt: skip


def planned_stamps(root: Path) -> list[Path]:
    plan = Plan.load(root)
    return [plan.stamps("rooms").tables, plan.metrics_stamp(), plan.stamps("rooms").report]


@pytest.mark.parametrize("name", STAMPED)
def test_a_flipped_bit_in_a_table_or_report(copy: Path, name: str) -> None:
    flipped(copy / name)
    named(copy, Path(name).name)
    with pytest.raises(UserError, match=Path(name).name):
        for stamp in planned_stamps(copy):
            require_stamped(stamp)
    if name.startswith("results/tables/rooms"):
        with pytest.raises(UserError, match=Path(name).name):
            write_report(copy, "rooms")


@pytest.mark.parametrize("damage", [emptied, halved, flipped], ids=lambda damage: damage.__name__)
def test_a_damaged_measurement_makes_no_table(copy: Path, damage: Callable[[Path], None]) -> None:
    damage(copy / "results/runs/rooms/mtcp/speed.json")
    with pytest.raises(UserError, match=r"speed\.json"):
        write_tables(Plan.load(copy), "rooms")
    assert any("speed.json" in problem["where"] + problem["problem"] for problem in verify_all(Plan.load(copy)))


def test_flipped_tables_and_reports_are_made_again(copy: Path, finished: Path) -> None:
    for name in STAMPED:
        flipped(copy / name)
    make_tables(copy)
    assert clean_tables(copy) == clean_tables(finished), "made again, they are what they were"


@pytest.mark.parametrize("damage", [emptied, halved, removed])
@pytest.mark.parametrize("which", [0, 1, 2], ids=["tables", "metrics", "report"])
def test_a_damaged_stamp(copy: Path, which: int, damage: Callable) -> None:
    stamp = planned_stamps(copy)[which]
    damage(stamp)
    named(copy, stamp.name)


def test_partial_tables_never_pass_for_whole_ones(copy: Path, finished: Path, monkeypatch) -> None:
    monkeypatch.chdir(copy)
    edit(copy / "params.yaml", seeds=[0, 1, 2])
    report_commands.tables(partial=True)
    report_commands.report()
    edit(copy / "params.yaml", seeds=[0, 1])
    assert [path for path in planned_stamps(copy) if path.exists()] == [planned_stamps(copy)[1]]
    named(copy, "come from other runs")
    make_tables(copy)
    assert clean_tables(copy) == clean_tables(finished)


def test_tables_of_another_configuration_are_not_reported(copy: Path, monkeypatch) -> None:
    monkeypatch.chdir(copy)
    before = (copy / "reports/rooms.html").read_bytes()
    edit(copy / "config/benchmarks/rooms.yaml", baseline="mtcp")
    with pytest.raises(UserError, match=r"results/tables/rooms has no tables of the present grid.*mtcp tables rooms"):
        report_commands.report("rooms")
    assert (copy / "reports/rooms.html").read_bytes() == before


# --- The store ---------------------------------------------------------------------------------------------------


def foreign_folder(root: Path) -> str:
    (root / "results/runs/rooms/mtcp/my_copy").mkdir()
    return "my_copy"


def foreign_file(root: Path) -> str:
    (root / "results/runs/notes.txt").write_text("rmse 0.1")
    return "notes.txt"


def foreign_file_among_methods(root: Path) -> str:
    (root / "results/runs/rooms/old.json").write_text("{}")
    return "old.json"


def copied_under_another_seed(root: Path) -> str:
    directory = directory_of(root)
    shutil.copytree(directory, directory.with_name(directory.name.replace("seed0", "seed7")))
    return "claims the key of"


def copied_under_another_method(root: Path) -> str:
    directory = directory_of(root)
    shutil.copytree(directory, directory.parents[1] / "mine" / directory.name)
    return "it was moved or copied"


def renamed_to_another_key(root: Path) -> str:
    directory = directory_of(root)
    directory.rename(directory.with_name("seed0-0123456789abcdef"))
    return "it was moved or copied"


def exchanged_with_another_seed(root: Path) -> str:
    first, second = directory_of(root), directory_of(root, seed=1)
    shutil.rmtree(first)
    shutil.copytree(second, first)
    return "the folder was edited or copied"


def exchanged_with_another_method(root: Path) -> str:
    first, second = directory_of(root), directory_of(root, "single_task")
    shutil.rmtree(first)
    shutil.copytree(second, first)
    return "the folder was edited or copied"


@pytest.mark.parametrize(
    "fault",
    [
        foreign_folder, foreign_file, foreign_file_among_methods, copied_under_another_seed,
        copied_under_another_method, renamed_to_another_key, exchanged_with_another_seed, exchanged_with_another_method,
    ],
)  # fmt: skip
def test_a_store_that_was_touched(copy: Path, finished: Path, fault: Callable) -> None:
    fragment = fault(copy)
    named(copy, fragment)
    tables = tables_of(copy)
    assert isinstance(tables, str) or tables == clean_tables(finished)
    nothing_lost(finished, copy, but=directory_of(copy))


def test_half_files_of_a_killed_process_are_swept(copy: Path) -> None:
    directory = directory_of(copy)
    half = directory / ".model-x1y2z3.safetensors"
    half.write_bytes(b"half")
    one(directory, "metrics-*.json").unlink()
    evaluate(copy)
    assert not half.exists()
    make_tables(copy)  # seconds per image were measured again
    assert verify_all(Plan.load(copy)) == []


# --- Data --------------------------------------------------------------------------------------------------------


def image_changed(data: Path) -> None:
    path = sorted((data / "images").iterdir())[0]
    shutil.copy(sorted((data / "images").iterdir())[1], path)


def image_removed(data: Path) -> None:
    sorted((data / "images").iterdir())[0].unlink()


def image_added(data: Path) -> None:
    path = sorted((data / "images").iterdir())[0]
    shutil.copy(path, path.with_stem("9999"))


def target_truncated(data: Path) -> None:
    halved(sorted((data / "depth").iterdir())[0])


@pytest.mark.parametrize("fault", [image_changed, image_removed, image_added, target_truncated])
def test_changed_data_are_not_used(copy: Path, fault: Callable) -> None:
    fault(copy / "data/rooms")
    new = Plan.load(copy).run("rooms", "mtcp", 5)
    with pytest.raises(UserError, match="data/rooms was changed since it was checked"):
        train(copy, new)
    assert not new.run_path.exists()
    one(directory_of(copy), "metrics-*.json").unlink()
    with pytest.raises(UserError, match="data/rooms was changed since it was checked"):
        evaluate(copy)
    named(copy, "data/rooms was changed")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest(copy: Path, damage: Callable) -> None:
    damage(Plan.load(copy).manifest("rooms"))
    with pytest.raises(UserError, match=r"rooms-.*\.json|mtcp data prepare rooms"):
        train(copy, Plan.load(copy).run("rooms", "mtcp", 5))


def test_a_dvc_file_whose_data_differ(copy: Path) -> None:
    """Another commit's data/rooms.dvc beside the old images: found before anything trains on them."""
    (copy / "data/rooms.dvc").write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: rooms\n")
    lock = {"schema": 1, "name": "rooms", "digest": "0" * 64, "inputs": "0" * 64, "counts": {"train": 16, "val": 6}}
    (copy / "data/rooms.lock.json").write_text(json.dumps(lock))
    edit(copy / "config/benchmarks/rooms.yaml", rendered=None)
    plan = Plan.load(copy)
    assert {run.state() for run in plan.runs} == {"missing"}, "other data are other runs"
    with pytest.raises(UserError, match=r"data/rooms is not what data/rooms\.lock\.json records"):
        sets.prepare(plan.project, "rooms")
    with pytest.raises(UserError, match="mtcp data prepare rooms"):
        train(copy)


# --- Clocks and configuration ------------------------------------------------------------------------------------


def set_times(folder: Path, seconds: float) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (seconds, seconds), follow_symlinks=False)


@pytest.mark.parametrize("year", [1980, 2100])
@pytest.mark.parametrize("part", ["results/runs", "results/tables", "data", "config", "reports"])
def test_a_jump_of_the_clock_changes_nothing(copy: Path, finished: Path, part: str, year: int) -> None:
    set_times(copy / part, (year - 1970) * 365.25 * 86400)
    plan = Plan.load(copy)
    assert all(stamp.exists() for stamp in planned_stamps(copy))
    assert {run.state() for run in plan.runs} == {"done"}
    assert verify_all(plan) == []
    nothing_lost(finished, copy)


def edit(path: Path, **changes: object) -> None:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


@pytest.mark.parametrize("command", ["tables", "metrics", "report"])
def test_params_that_change_while_the_workflow_runs(copy: Path, monkeypatch, command: str) -> None:
    which = {"tables": 0, "metrics": 1, "report": 2}[command]
    key = planned_stamps(copy)[which].stem.rpartition("-")[2]
    before = contents(copy / "results/tables")
    edit(copy / "params.yaml", seeds=[0])
    monkeypatch.chdir(copy)
    with pytest.raises(UserError, match="changed while the workflow ran"):
        getattr(report_commands, command)(key=key)
    assert contents(copy / "results/tables") == before


@pytest.mark.parametrize("command", [train_commands.train, evaluate_commands.evaluate])
def test_a_run_whose_configuration_changes_while_the_workflow_runs(copy: Path, monkeypatch, command) -> None:
    run = Plan.load(copy).run("rooms", "mtcp", 0)
    planned = {train_commands.train: run.train_key, evaluate_commands.evaluate: run.eval_key}[command]
    edit(copy / "config/benchmarks/rooms.yaml", channels=12)
    monkeypatch.chdir(copy)
    with pytest.raises(UserError, match=f"caller planned {planned}.*changed while the workflow ran"):
        command("rooms", "mtcp", seed=0, key=planned)
    assert run.state() == "done"


def test_a_run_whose_configuration_changes_while_it_trains_is_not_evaluated(copy: Path, monkeypatch) -> None:
    """The evaluation would be written under the key of what was planned before the training."""
    run = Plan.load(copy).run("rooms", "mtcp", 0)
    removed(run.metrics_path)
    removed(run.run_path)

    def trained(*arguments: object) -> None:
        write_record(run.run_path, {})
        edit(copy / "config/benchmarks/rooms.yaml", evaluation={"edge_tolerance": 0.02})

    monkeypatch.setattr(evaluate_commands, "train_planned", trained)
    monkeypatch.chdir(copy)
    with pytest.raises(UserError, match=f"caller planned {run.eval_key}.*changed while the workflow ran"):
        evaluate_commands.evaluate("rooms", "mtcp", seed=0, train=True)
    assert not list(run.directory.glob("metrics-*.json"))


def test_a_stop_at_the_very_end_of_the_training_is_heard(copy: Path, monkeypatch, capsys) -> None:
    run = Plan.load(copy).run("rooms", "mtcp", 0)
    kept = run.run_path.read_bytes()
    removed(run.metrics_path)
    removed(run.run_path)

    def trained(*arguments: object) -> None:
        run.run_path.write_bytes(kept)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(evaluate_commands, "train_planned", trained)
    monkeypatch.chdir(copy)
    with pytest.raises(typer.Exit) as stopped:
        evaluate_commands.evaluate("rooms", "mtcp", seed=0, train=True)
    assert (stopped.value.exit_code, run.state()) == (130, "trained")
    assert "the same command evaluates it" in capsys.readouterr().err


def test_a_crash_in_the_evaluation_leaves_its_reason(copy: Path, monkeypatch) -> None:
    run = Plan.load(copy).run("rooms", "mtcp", 0)
    removed(run.metrics_path)

    def crash(*arguments: object, **more: object) -> None:
        raise RuntimeError("no more shared memory")

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "evaluate_networks", crash)
        with pytest.raises(RuntimeError):
            evaluate(copy)
    assert run.failure_path.read_text() == "RuntimeError: no more shared memory\n"
    assert "no more shared memory" in to_csv(build_tables(Plan.load(copy), "rooms", partial=True)["runs"])
    evaluate(copy)
    assert not run.failure_path.exists() and run.state() == "done"


def test_a_changed_network_is_not_judged_elsewhere(copy: Path, monkeypatch) -> None:
    network = directory_of(copy) / "model.safetensors"
    flipped(network)
    monkeypatch.chdir(copy)
    with pytest.raises(UserError, match=r"SHA-256 differs.*train the run again"):
        evaluate_commands.evaluate("rooms", checkpoint=network)


def test_why_says_it_to_programs(copy: Path, finished: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(copy)
    before = directory_of(copy).name
    store_commands.why("rooms", "mtcp", 0, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert (said["state"], said["nearest"], said["changes"]) == ("done", before, [])
    methods = yaml.safe_load((copy / "config/methods.yaml").read_text())
    edit(copy / "config/methods.yaml", mtcp=methods["mtcp"] | {"training": {"weight_decay": 0.5}})
    store_commands.why("rooms", "mtcp", 0, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert (said["state"], said["nearest"]) == ("missing", before)
    assert said["changes"] == ["config.training.weight_decay: 0.0001 -> 0.5"]


def test_the_doctor_says_it_to_programs(copy: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(copy)
    store_commands.doctor(as_json=True)
    rows = {row["part"]: row for row in json.loads(capsys.readouterr().out)}
    assert {"python", "torch", "snakemake", "dvc", "GPU", "git", "LaTeX", "SLURM", "data: rooms"} <= set(rows)
    for row in rows.values():
        assert row["found"] != "missing" or row["without_it"], f"{row['part']}: what its absence costs"


# --- Configuration that cannot mean what it says -------------------------------------------------------------------

ROOMS, METHODS_FILE, PUBLISHED = "config/benchmarks/rooms.yaml", "config/methods.yaml", "results/published.csv"


def with_text(file: str, old: str, new: str) -> Callable[[Path], None]:
    """A change of a file's first `old` into `new`; an empty `old` stands for the end of the file."""

    def change(root: Path) -> None:
        text = (root / file).read_text()
        assert old in text
        (root / file).write_text(text.replace(old, new, 1) if old else text + new)

    return change


def with_bytes(file: str, codec: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / file).write_bytes(((root / file).read_text() + "# größer\n").encode(codec))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: edit(root / "params.yaml", seeds=[0, 0, 0]), "key 'seeds': 0 stands here twice"),
        (lambda root: edit(root / "params.yaml", methods=["mtcp", "mtcp"]), "key 'methods': mtcp stands here twice"),
        (with_text("params.yaml", "", "seeds: [5]\n"), "key 'seeds' stands here and in line"),
        (with_text(METHODS_FILE, "", "\nmtcp: {label: Other}\n"), "key 'mtcp' stands here and in line"),
        (with_text(ROOMS, "", "channels: 4\n"), "key 'channels' stands here and in line"),
        (with_bytes("params.yaml", "latin-1"), "is not UTF-8"),
        (with_bytes(METHODS_FILE, "utf-16"), "is not UTF-8"),
        (with_bytes("config/claims.yaml", "cp1252"), "is not UTF-8"),
        (with_text(ROOMS, "  lps_clipped:", "  lps_cliped:"), "unknown scheme 'lps_cliped'; did you mean"),
        (with_text(ROOMS, "", "baseline: singel_task\n"), "key 'baseline': unknown method 'singel_task'"),
        (with_text(ROOMS, "", "reference: mtpc\n"), "key 'reference': unknown method 'mtpc'"),
        (lambda root: edit_tasks(root, depth={"loss": "l1_depth"}), "'l1_depth' is not a loss of depth"),
        (lambda root: edit_tasks(root, depth={"classes": 3}), "depth has no classes"),
        (lambda root: edit(root / ROOMS, validation_share=0.01), "0.01 of 16 training images leaves no image"),
        (with_text(PUBLISHED, "", 'A,semseg,mIoU,B,C,"0,50",D\n'), "'0,50' is not a number"),
        (with_text(PUBLISHED, "", "A,semseg,mIoU,B,C,50 %,D\n"), "'50 %' is not a number"),
        (with_text("config/claims.yaml", "  evidence: abstract", "  evidnce: abstract"), "'evidnce': unknown key"),
        (with_text("config/claims.yaml", "  method: mtcp", "  method: mtcq"), "unknown method 'mtcq'"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_mean_what_it_says_makes_no_plan(
    copy: Path, finished: Path, change: Callable, said: str
) -> None:
    """Named with its file when the plan is made; the runs and the tables that are there stay as they are."""
    change(copy)
    with pytest.raises(UserError) as caught:
        Plan.load(copy)
    assert str(caught.value).startswith(str(copy))
    assert said in str(caught.value)
    nothing_lost(finished, copy)
    assert clean_tables(copy) == clean_tables(finished)


def edit_tasks(root: Path, **options: dict) -> None:
    tasks = yaml.safe_load((root / ROOMS).read_text())["tasks"]
    edit(root / ROOMS, tasks={**tasks, **options})


DETACHED = """\
from mtcp.api import LossScheme, scheme

@scheme("forgetful")
class Forgetful(LossScheme):
    def total(self, losses, present):
        return losses[:-1].sum() + losses[-1].detach() * 0 + 0 * losses.sum()
"""


def test_a_task_that_learns_nothing_is_flagged_and_its_cells_are_marked(
    copy: Path, finished: Path, monkeypatch
) -> None:
    """A scheme of a user's own that forgets the last task: finished, with a flag, a mark and a sentence."""
    (copy / "plugins/forgetful.py").write_text(DETACHED)
    methods = yaml.safe_load((copy / METHODS_FILE).read_text())
    edit(copy / METHODS_FILE, mtcp=methods["mtcp"] | {"scheme": {"name": "forgetful"}, "search": {}})
    monkeypatch.chdir(copy)
    for run in Plan.load(copy).runs:
        if run.method == "mtcp":
            record = train(copy, run)
            assert record.status == "finished"
            assert "untrained:edge" in record.flags
            evaluate(copy, run)
    make_tables(copy)
    page = (copy / "reports/rooms.html").read_text()
    assert "edge was never trained" in page
    nothing_lost(finished, copy)


# --- Killed, full, forbidden: real processes ---------------------------------------------------------------------


def times(folder: Path) -> dict[str, int]:
    """When each file was last changed; a file that is removed while we look is left out."""
    found = {}
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[path.name] = path.stat().st_mtime_ns
    return found


@pytest.mark.parametrize("stage", ["evaluate", "tables"])
def test_killed_while_it_writes(copy: Path, finished: Path, project_at, stage: str) -> None:
    """kill -9 as soon as the first temporary or finished file of the stage appears; the same command goes on."""
    directory = directory_of(copy)
    if stage == "evaluate":
        for path in (one(directory, "metrics-*.json"), one(directory, "images-*.npz")):
            path.unlink()
        command, watched = ("mtcp", "evaluate", "rooms", "mtcp", "--seed", "0"), directory
    else:
        command, watched = ("mtcp", "tables"), copy / "results/tables/rooms"
    before = times(watched) | {".lock": 0}
    process = project_at(copy).start(*command)
    while process.poll() is None:
        if any(before.get(name) != changed for name, changed in times(watched).items() if name != ".lock"):
            process.kill()
            break
        time.sleep(0.001)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    if stage == "evaluate":
        assert isinstance(tables_of(copy), str)
        evaluate(copy)
    make_tables(copy)
    assert verify_all(Plan.load(copy)) == []
    nothing_lost(finished, copy, but=directory)


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from mtcp.cli import main
main()
"""


@pytest.mark.parametrize(
    ("bytes_per_file", "stage"),
    [(0, "train"), (100, "train"), (20_000, "train"), (100, "evaluate"), (3_000, "tables"), (20_000, "export")],
)
def test_a_full_disk_is_one_sentence_and_loses_nothing(
    copy: Path, finished: Path, project_at, bytes_per_file: int, stage: str
) -> None:
    """Writes fail after so many bytes per file, as they do on a full disk; 0 are too few for a run's lock."""
    directory = directory_of(copy)
    arguments = {
        "train": ["train", "rooms", "mtcp", "--seed", "2"],
        "evaluate": ["evaluate", "rooms", "mtcp", "--seed", "0"],
        "tables": ["tables"],
        "export": ["export", "rooms/mtcp/seed0"],
    }[stage]
    if stage == "evaluate":
        one(directory, "metrics-*.json").unlink()
    (copy / "limited.py").write_text(LIMITED)
    done = project_at(copy).run("limited", str(bytes_per_file), *arguments)
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    nothing_lost(finished, copy, but=directory)
    if stage == "tables":
        make_tables(copy)
        assert clean_tables(copy) == clean_tables(finished)


@pytest.fixture
def forbidden(copy: Path):
    """A function that makes a folder immutable, for root, too; undone in the end."""
    made: list[Path] = []

    def forbid(folder: Path) -> None:
        if subprocess.run(["chattr", "+i", str(folder)], capture_output=True, check=False).returncode:
            pytest.skip("chattr +i needs root and a file system that knows it")
        made.append(folder)

    if shutil.which("chattr") is None:
        pytest.skip("chattr is not installed")
    yield forbid
    for folder in made:
        subprocess.run(["chattr", "-i", str(folder)], check=True)


@pytest.mark.parametrize("place", ["results/runs/rooms/mtcp", "results/tables/rooms", "reports"])
def test_a_folder_that_cannot_be_written(copy: Path, finished: Path, forbidden, monkeypatch, place: str) -> None:
    forbidden(copy / place)
    monkeypatch.chdir(copy)
    work = {"results/tables/rooms": report_commands.tables, "reports": report_commands.report}.get(
        place, lambda: train(copy, Plan.load(copy).run("rooms", "mtcp", 6))
    )
    with pytest.raises(UserError, match=r"cannot (write|remove) "):
        work()
    nothing_lost(finished, copy)


def test_a_lock_of_a_dead_process_is_no_lock(copy: Path) -> None:
    run = Plan.load(copy).run("rooms", "mtcp", 0)
    (run.directory / ".lock").write_text("process 4242 on another-host")
    assert train(copy, run).status == "finished"


def test_the_environment_of_a_record_counts_for_nothing_in_its_key(copy: Path) -> None:
    """A plan made elsewhere names the same runs: neither place nor time nor machine is in a key."""
    moved = copy.rename(copy.with_name("elsewhere"))
    plan = Plan.load(moved)
    assert {run.state() for run in plan.runs} == {"done"}
    assert short_key(plan.runs[0].parts) == plan.runs[0].train_key
