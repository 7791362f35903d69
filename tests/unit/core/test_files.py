"""Atomic and sealed files."""

from pathlib import Path

import pytest

from mtcp.core.errors import UserError
from mtcp.core.files import read_json, read_record, replacing, write_record, write_text


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_record_comes_back_as_written(tmp_path: Path) -> None:
    content = {"a": [1, 2.5, None], "b": {"c": "é"}}
    write_record(tmp_path / "r.json", content)
    assert read_record(tmp_path / "r.json") == content


def test_every_flipped_bit_of_a_record_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_record(path, {"miou": 0.4375, "n": 3, "name": "mtcp"})
    original = path.read_bytes()
    read = read_record(path)
    for position in range(len(original)):
        flipped = bytearray(original)
        flipped[position] ^= 1 << (position % 7)
        path.write_bytes(bytes(flipped))
        try:
            assert read_record(path) == read, f"byte {position} changed the content unnoticed"
        except UserError:
            continue


def test_a_truncated_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    with pytest.raises(UserError, match="is missing"):
        read_json(path)
    path.write_text('{"a": 1')
    with pytest.raises(UserError, match="is damaged"):
        read_json(path)
