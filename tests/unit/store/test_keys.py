"""Keys: what changed between two, in words."""

from mtcp.store.keys import differences


def test_differences_name_what_changed_and_only_that() -> None:
    old = {"config": {"training": {"epochs": 10}, "seed": 0}, "code": "a" * 64}
    new = {"config": {"training": {"epochs": 12}, "seed": 0}, "code": "b" * 64}
    assert differences(old, new) == [
        "code: aaaaaaaaaaaa -> bbbbbbbbbbbb",
        "config.training.epochs: 10 -> 12",
    ]
