"""An archive is checked from its own files: what was edited, lost or added is named."""

import contextlib
import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mtcp.analysis.archived import verify_archive
from mtcp.analysis.tables import write_tables
from mtcp.cli.store import archive as command
from mtcp.core.errors import UserError
from mtcp.core.files import read_record, write_record
from mtcp.core.hashing import short_key
from mtcp.core.project_files import HISTORY
from mtcp.core.run_config import PluginConfig
from mtcp.report.render import write_report
from mtcp.store.archive import _sources, archive, archives
from mtcp.store.integrity import digests, stamping
from mtcp.store.plan import Plan
from tests.support.made_up_store import Store, make_store

pytestmark = pytest.mark.slow


def keyed(store: Store) -> Store:
    """The store with runs whose keys follow from their parts, as verification wants them."""
    runs = []
    for run in store.plan.runs:
        parts = {"config": {"method": run.method, "seed": run.seed}}
        runs.append(type(run)(run.config, parts, short_key(parts), run.eval_key, run.root))
    made = Store(store.root, Plan(store.plan.project, tuple(runs)))
    made.write_all()
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A finished store with tables and report of its grid."""
    made = keyed(make_store(tmp_path_factory.mktemp("made"), range(4)))
    stamps = made.plan.stamps("rooms")
    with stamping(stamps.tables) as paths:
        paths += write_tables(made.plan, "rooms")
    with stamping(stamps.report) as paths:
        paths += write_report(made.root, "rooms")
    return made


@pytest.fixture(scope="module")
def _archived(made: Store) -> Path:
    return archive(made.plan, "rooms")


@pytest.fixture
def kept(tmp_path: Path, _archived: Path) -> Path:
    """The archive of a finished store; a copy of its own for every test."""
    return Path(shutil.copytree(_archived, tmp_path / "results/reference/rooms"))


def problems(folder: Path) -> list[str]:
    root = folder.parents[2]
    return [f"{each['where']}: {each['problem']}" for each in verify_archive(root, folder)[0]]


def resealed(folder: Path) -> None:
    """Seal what is there, as someone would who edits a number and knows how."""
    seal = folder / "archive.json"
    write_record(seal, {"files": digests(folder, [folder / name for name in read_record(seal)["files"]])})


def test_an_archive_is_in_order_and_holds_neither_weights_nor_images(kept: Path) -> None:
    assert verify_archive(kept.parents[2], kept) == ([], 28)
    assert archives(kept.parents[2]) == [kept]
    reports = sorted((kept / "reports").iterdir())
    assert [path.name for path in reports] == ["rooms-tables.tex", "rooms.html", "rooms.tex"]
    others = {path.suffix for path in kept.rglob("*") if path.is_file() and path not in reports}
    assert others == {".yaml", ".json", ".csv"}


def one(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def edit_cell(folder: Path) -> None:
    path = folder / "results/tables/rooms/summary.csv"
    lines = path.read_text().splitlines()
    cells = lines[1].split(",")
    cells[7] = "0.123"
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")


def edit_metric(folder: Path) -> None:
    path = one(folder, "results/runs/rooms/mtcp/seed0-*/metrics-*.json")
    content = read_record(path)
    content["metrics"]["last"]["final"]["semseg"]["miou"] = 0.99
    write_record(path, content)


def edit_record(folder: Path) -> None:
    path = one(folder, "results/runs/rooms/mtcp/seed0-*/run.json")
    path.write_text(path.read_text().replace('"seconds": 21.5', '"seconds": 2.5'))


def edit_parts(folder: Path) -> None:
    path = one(folder, "results/runs/rooms/mtcp/seed0-*/run.json")
    write_record(path, read_record(path) | {"key_parts": {"config": {"method": "mtcp", "seed": 7}}})


def edit_history(folder: Path) -> None:
    path = one(folder, "results/runs/rooms/mtcp/seed0-*/history.csv")
    path.write_text(path.read_text().replace("3.5", "3.6"))


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (edit_cell, "summary.csv row 2, mean: shows 0.123"),
        (edit_metric, "runs.csv row"),
        (edit_parts, "rooms/mtcp/seed0: the key that follows from its recorded parts"),
        (edit_history, "history.csv is not the file that was written there"),
    ],
)
def test_what_was_edited_and_sealed_again_is_named(kept: Path, edit: Callable[[Path], None], named: str) -> None:
    edit(kept)
    assert any("SHA-256" in each for each in problems(kept))
    resealed(kept)
    assert any(named in each for each in problems(kept))


def test_a_record_without_its_seal_is_named(kept: Path) -> None:
    edit_record(kept)
    resealed(kept)
    assert any("was changed after it was written" in each for each in problems(kept))


def test_lost_and_added_files_are_named(kept: Path) -> None:
    (kept / "reports/rooms.html").unlink()
    (kept / "weights.bin").write_text("x")
    one(kept, "results/runs/rooms/mtcp/seed1-*/run.json").unlink()
    found = "\n".join(problems(kept))
    assert "reports/rooms.html is missing" in found
    assert "weights.bin is no part of the archive" in found
    assert "0 records and 1 metrics of seed 1" in found


def test_the_last_digits_of_another_machine_are_no_problem(kept: Path) -> None:
    path = kept / "results/tables/rooms/summary.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    place = rows[0].index("mean")
    for row in rows[1:]:
        row[place] = f"{float(row[place]) * (1 + 1e-8):.12g}"
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")
    resealed(kept)
    assert problems(kept) == []


def test_an_archive_without_its_seal_is_named(kept: Path) -> None:
    (kept / "archive.json").unlink()
    assert archives(kept.parents[2]) == [kept]
    assert any("archive.json is missing" in each for each in problems(kept))


def test_another_grid_in_its_params_is_named(kept: Path) -> None:
    params = kept / "params.yaml"
    params.write_text(params.read_text().replace("- rooms", "- rooms\n- people"))
    resealed(kept)
    assert problems(kept) != []


def test_tables_of_older_code_are_made_again_from_the_records(kept: Path, monkeypatch) -> None:
    tables = kept / "results/tables/rooms"
    claims, compared = pd.read_csv(tables / "claims.csv"), pd.read_csv(tables / "comparisons.csv")
    claims.drop(columns="environments").to_csv(tables / "claims.csv", index=False)
    compared.assign(holm_level=0.5, image_low=-1.25, image_high=2.5).to_csv(tables / "comparisons.csv", index=False)
    images = (tables / "images.csv").read_bytes()
    resealed(kept)
    assert len(problems(kept)) > 1
    monkeypatch.chdir(kept.parents[2])
    command("rooms", renew=True)
    assert problems(kept) == []
    renewed = pd.read_csv(tables / "comparisons.csv")
    assert (renewed.holm_level == compared.holm_level).all()
    assert set(renewed.image_low) == {-1.25} and set(renewed.image_high) == {2.5}, "nothing can derive these again"
    assert (tables / "images.csv").read_bytes() == images
    (tables / "images.csv").write_text("x")
    with pytest.raises(UserError, match=r"images\.csv is not the file that was written there .*restore the archive"):
        command("rooms", renew=True)


def test_a_described_set_is_archived_with_its_description(made: Store) -> None:
    project = made.plan.project
    benchmark = project.benchmark("rooms").model_copy(update={"layout": "valleys"})
    (made.root / "data").mkdir(exist_ok=True)
    own = made.root / "data/valleys.yaml"
    own.write_text("title: Valleys\n")
    try:
        project._benchmarks["rooms"] = benchmark
        assert own in set(_sources(made.plan, "rooms"))
    finally:
        own.unlink()
        del project._benchmarks["rooms"]


def test_own_plug_ins_are_archived_with_what_they_import(made: Store, tmp_path: Path, monkeypatch) -> None:
    folder = made.root / "plugins"
    folder.mkdir()
    (folder / "mine.py").write_text('import _powers\nfrom mtcp.api import scheme\n\n@scheme("mine")\nclass Mine: ...\n')
    (folder / "_powers.py").write_text("POWER = 2\n")
    (folder / "other.py").write_text('from mtcp.api import scheme\n\n@scheme("other")\nclass Other: ...\n')
    first, *others = made.plan.runs
    config = first.config.model_copy(update={"scheme": PluginConfig(name="mine")})
    plan = replace(made.plan, runs=(replace(first, config=config), *others))
    try:
        written = archive(plan, "rooms", "rooms_own")
    finally:
        shutil.rmtree(folder)
    kept = Path(shutil.copytree(written, tmp_path / "results/reference/rooms_own"))
    shutil.rmtree(written)
    names = ["_powers.py", "mine.py"]
    assert sorted(path.name for path in (kept / "plugins").iterdir()) == names, "none that no method uses"
    monkeypatch.chdir(tmp_path)
    command("rooms", name="rooms_own", renew=True)
    assert sorted(path.name for path in (kept / "plugins").iterdir()) == names
    (kept / "plugins/_powers.py").write_text("POWER = 3\n")
    assert [text for text in problems(kept) if "plugins/_powers.py is not the file that was written" in text]


def test_a_new_archive_takes_the_place_of_the_older_one(made: Store, _archived: Path) -> None:
    next(_archived.rglob(HISTORY)).write_text("x")
    assert archive(made.plan, "rooms") == _archived
    assert problems(_archived) == []
    assert [path.name for path in _archived.parent.iterdir()] == ["rooms"]


@pytest.mark.parametrize("name", ["notes", "notes/a.md", "rooms/README.md"])
def test_files_that_no_archive_lists_are_kept(made: Store, _archived: Path, name: str) -> None:
    own = _archived.parent / name
    own.parent.mkdir(exist_ok=True)
    own.write_text("x")
    with pytest.raises(UserError, match=rf"{own}: no archive lists this, .* move it away, or choose another --as"):
        archive(made.plan, "rooms", Path(name).parts[0])
    assert own.read_text() == "x"
    own.unlink()
    if own.parent.name == "notes":
        own.parent.rmdir()


def test_a_second_grid_has_an_archive_of_its_own(tmp_path: Path, made: Store, _archived: Path, monkeypatch) -> None:
    second = archive(made.plan, "rooms", "rooms_schemes")
    root = tmp_path / "elsewhere"
    place = Path(shutil.copytree(second, root / "results/reference/rooms_schemes"))
    shutil.rmtree(second)
    assert problems(place) == []
    kept = (place / "results/tables/rooms/summary.csv").read_text()
    monkeypatch.chdir(root)
    command("rooms", name="rooms_schemes", renew=True)
    assert (place / "results/tables/rooms/summary.csv").read_text() == kept
    with pytest.raises(UserError, match="is not a name"):
        archive(made.plan, "rooms", "../rooms")


def test_no_archive_takes_the_place_of_another_benchmarks(made: Store, _archived: Path) -> None:
    other = _archived.with_name("people")
    shutil.copytree(_archived, other)
    params = (other / "params.yaml").read_text()
    try:
        (other / "params.yaml").write_text(params.replace("- rooms", "- people"))
        with pytest.raises(UserError, match="results/reference/people is an archive of people, not of rooms"):
            archive(made.plan, "rooms", "people")
    finally:
        shutil.rmtree(other)


def test_an_older_archive_survives_what_cannot_be_written(made: Store, _archived: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(UserError, match="No space left on device; free space"):
        archive(made.plan, "rooms")
    assert problems(_archived) == []
    assert [path.name for path in _archived.parent.iterdir()] == ["rooms"]


def test_an_interrupt_between_two_steps_loses_no_archive(made: Store, _archived: Path, monkeypatch) -> None:
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if target == _archived:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        archive(made.plan, "rooms")
    assert problems(_archived) == []
    assert [path.name for path in _archived.parent.iterdir()] == ["rooms"]


def test_what_a_killed_process_left_is_not_archived(made: Store) -> None:
    left = made.root / "results/tables/rooms/.runs-x1.csv"
    left.write_text("half")
    try:
        assert left not in set(_sources(made.plan, "rooms"))
    finally:
        left.unlink()


def test_only_what_the_grid_made_is_archived(store: Store) -> None:
    made = keyed(store)
    with pytest.raises(UserError, match="the tables of rooms do not match the current grid: run `snakemake"):
        archive(made.plan, "rooms")


def test_the_configuration_that_is_kept_plans_the_grid(kept: Path) -> None:
    assert json.loads((kept / "archive.json").read_text())["files"]
    text = (kept / "params.yaml").read_text()
    assert "benchmarks:\n- rooms" in text and "- mtcp_no_cfm" in text
