"""Typed records: what was written is read, once per process, and anything else is named."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from made_up_store import Store, made_up_record

from mtcp.analysis.tables import build_tables
from mtcp.core.errors import UserError
from mtcp.core.files import read_record, write_record
from mtcp.core.project_files import RECORD
from mtcp.store.records import RunRecord, readable_records

_OPENED: Counter[str] = Counter()
_watched: list[Path] = []


def _count(event: str, arguments: tuple) -> None:
    if _watched and event == "open" and str(arguments[0]).startswith(str(_watched[0])):
        _OPENED[str(arguments[0])] += 1


sys.addaudithook(_count)


def test_a_record_comes_back_as_it_was_written(small: Store) -> None:
    run = small.plan.runs[0]
    assert RunRecord.read(run.run_path) == made_up_record(run, parameters=run.record().parameters)
    assert run.record().run_config() == run.config


@pytest.mark.slow
def test_a_table_build_opens_every_record_once(small: Store) -> None:
    made_up = small.plan.run("rooms", "mtcp", 1)
    small.write(made_up, "diverged")
    _OPENED.clear()
    _watched.append(small.root)
    try:
        build_tables(small.plan, "rooms", partial=True)
    finally:
        _watched.clear()
    for run in small.plan.runs:
        assert _OPENED[str(run.run_path)] == 1
        assert _OPENED[str(run.metrics_path)] == (run is not made_up)


def test_a_record_that_is_written_again_is_read_again(small: Store) -> None:
    run = small.plan.runs[0]
    assert run.record().status == "finished"
    made_up_record(run, "diverged").write(run.run_path)
    assert run.record().status == "diverged"


@pytest.mark.parametrize("version", [0, 2, None])
def test_another_schema_version_is_refused(small: Store, version: int | None) -> None:
    path = small.plan.runs[0].run_path
    write_record(path, read_record(path) | {"schema_version": version})
    with pytest.raises(UserError, match=rf"run\.json has schema version {version}, and this version of mtcp reads 1"):
        RunRecord.read(path)


def test_a_missing_field_is_named(small: Store) -> None:
    path = small.plan.runs[0].run_path
    content = read_record(path)
    del content["parameters"]
    write_record(path, content)
    with pytest.raises(UserError, match=r"run\.json, key 'parameters': required, and missing"):
        RunRecord.read(path)


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run\.json is missing"):
        RunRecord.read(tmp_path / RECORD)


def test_a_configuration_of_another_version_is_named(small: Store) -> None:
    run = small.plan.runs[0]
    record = made_up_record(run, config=run.config.model_dump(mode="json") | {"held_out": 0.1})
    with pytest.raises(UserError, match="key 'held_out': is called `validation_share` now"):
        record.run_config()


def test_records_that_cannot_be_read_are_left_out(small: Store) -> None:
    folder = small.plan.runs[0].directory.parent
    assert [path for path, _ in readable_records(folder)] == sorted(folder.glob("seed*"))
    small.plan.runs[0].run_path.write_text("{}")
    assert len(list(readable_records(folder))) == 1
