"""The helpers for messages."""

from mtcp.core.errors import alternatives


def test_a_name_is_never_proposed_in_its_own_place() -> None:
    assert (
        alternatives("default", ["default", "defaults", "mtcp"]) == "; did you mean 'defaults'? (known: defaults, mtcp)"
    )
    assert alternatives("default", ["default"]) == " (known: none)"
