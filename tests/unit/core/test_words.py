"""Numbers in sentences."""

from mtcp.core.words import counted, counted_first


def test_one_has_no_plural():
    assert [counted(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


def test_a_sentence_begins_with_a_word():
    assert [counted_first(number, "run") for number in (1, 2, 9, 10)] == ["One run", "Two runs", "Nine runs", "10 runs"]
