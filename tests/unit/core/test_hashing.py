"""Digests of content."""

from hypothesis import given
from hypothesis import strategies as st

from mtcp.core.hashing import digest


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()))
def test_a_digest_ignores_the_order_of_keys(content: dict) -> None:
    assert digest(content) == digest(dict(reversed(content.items())))
