"""Numbers in sentences."""

from mtcp.core.words import counted, counted_first, listed


def test_one_has_no_plural():
    assert [counted(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


def test_a_sentence_begins_with_a_word():
    assert [counted_first(number, "run") for number in (1, 2, 9, 10)] == ["One run", "Two runs", "Nine runs", "10 runs"]


def test_a_list_in_a_sentence():
    assert [listed(parts, "or") for parts in ([6], [6, 7], [6, 7, 8])] == ["6", "6 or 7", "6, 7 or 8"]
