"""Atomic and sealed files."""

import os
from pathlib import Path

import pytest

from mtcp.core.errors import UserError
from mtcp.core.files import line_of, read_json, read_record, read_yaml, replacing, write_record, write_text


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_rights_that_the_user_gives_new_files(tmp_path: Path, umask: int) -> None:
    earlier = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "new")
    finally:
        os.umask(earlier)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~umask


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


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: key 'a' stands here and in line 1: keep one"),
        ("a:\n  b: 2\n  c: 1\n  b: 2\n", "line 4: key 'b' stands here and in line 2"),
        ("a: {b: 1, b: 1}\n", "line 1: key 'b' stands here and in line 1"),
        ("- a: 1\n  a: 2\n", "line 2: key 'a' stands here"),
        ("a: 1\nb: [1, 2\n", "no valid YAML"),
        ("a: 1\n\tb: 2\n", "line 2: no valid YAML"),
        ("a: 1\nseeds: [010]\n", "line 2: key 'seeds': 010 stands for 8 in YAML: write 8, or 10 if that is meant"),
        ("a:\n  b: -0x1F\n", "line 2: key 'b': -0x1F stands for -31 in YAML: write -31"),
        ("a: 0b11\n", "line 1: key 'a': 0b11 stands for 3 in YAML: write 3"),
        ("a: 1:30\n", "line 1: key 'a': 1:30 stands for 90 in YAML: write 90"),
        ("a: [[1], [1:30.5]]\n", "line 1: key 'a': 1:30.5 stands for 90.5 in YAML: write 90.5"),
        ("- 007: b\n", "line 1: key '007': 007 stands for 7 in YAML: write 7"),
        ("a: -010\n", "line 1: key 'a': -010 stands for -8 in YAML: write -8, or -10 if that is meant"),
        ("a: !!python/object:os.system 1\n", "line 1: could not determine a constructor"),
        ("a: 1\nb: caf\u00e9\n".encode("latin-1"), "line 2: byte 0xe9 is not UTF-8"),
        ("\ufeffa: 1\na: 2\n".encode("utf-16"), "line 1: byte 0xff is not UTF-8"),
        (b"a: \x00\n", "is not valid YAML"),
        (b"", "must hold a mapping of keys to values, not NoneType"),
        ("- 1\n", "must hold a mapping of keys to values, not list"),
        ("a: 1\ntitle: {{ my study }}\n", "line 2: a key is a plain word or a number here"),
        ("a: &a [*a]\n", "is nested too deeply, or an entry contains itself"),
        (f"a: {'[' * 3000}{']' * 3000}\n", "is nested too deeply, or an entry contains itself"),
        ("b: 1\na: &a {b: {c: *a}}\n", "line 2: an entry contains itself: write out what `*` stands for"),
        ("? [a, b]\n: 1\n", "line 1: a key is a plain word or a number here"),
    ],
)
def test_yaml_that_cannot_mean_one_thing_is_named_with_its_line(tmp_path: Path, content, problem: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        read_yaml(path, dict)
    assert str(caught.value).startswith(str(path))
    assert problem in str(caught.value)


def test_a_folder_where_a_file_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(UserError, match=r"params\.yaml cannot be read: Is a directory"):
        read_yaml(tmp_path / "params.yaml", dict)


def test_yaml_of_any_editor_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("\ufeffdefaults: &d {x: 1, y: 2}\r\nother: {<<: *d, y: 3}\r\nlabel: Größe\r\n".encode())
    assert read_yaml(path, dict) == {"defaults": {"x": 1, "y": 2}, "other": {"x": 1, "y": 3}, "label": "Größe"}


def test_the_line_of_an_entry_or_of_what_is_around_it(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# head\na:\n  b:\n    - 1\n    - c: 2\nd: {e: 1,\n  f: 2}\n")
    places = [("a",), ("a", "b"), ("a", "b", 1), ("a", "b", 1, "c"), ("d", "f"), ("a", "x"), ("a", "b", 7), ("z",)]
    assert [line_of(path, place) for place in places] == [2, 3, 5, 5, 7, 2, 3, None]
    assert line_of(tmp_path / "absent.yaml", ("a",)) is None


def test_decimal_numbers_are_read_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: [0, -10, +1_000, 0.5, 00.5, 1.0e-3, .inf, '010', 09, 1e-3]\n1: {b: 0}\n")
    assert read_yaml(path, dict) == {
        "a": [0, -10, 1000, 0.5, 0.5, 0.001, float("inf"), "010", "09", "1e-3"],
        1: {"b": 0},
    }
