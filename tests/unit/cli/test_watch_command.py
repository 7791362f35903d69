"""`mtcp watch` shows what fits the terminal: what goes on, then what is to come."""

from mtcp.cli.watch import _table
from mtcp.store.watching import Progress


def row(number: int, state: str) -> Progress:
    return Progress(
        f"rooms/mtcp/seed{number}", state, 1, 5, {"depth": 0.5}, 60.0 if state != "done" else 0.0, state == "done"
    )


def test_a_grid_larger_than_the_terminal() -> None:
    rows = [*(row(k, "done") for k in range(9)), *(row(k, "missing") for k in range(9, 19)), row(19, "running")]
    whole, cropped = _table(rows), _table(rows, height=10)
    assert whole.row_count == 20 and whole.caption is None
    assert cropped.row_count == 6 and cropped.caption == "14 more: mtcp plan"
    assert [*cropped.columns[0].cells][:2] == ["rooms/mtcp/seed19", "rooms/mtcp/seed9"]
    assert whole.title == cropped.title == "9 of 20 runs finished, 11 min 00 s left"
