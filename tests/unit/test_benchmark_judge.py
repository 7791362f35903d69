"""The table of ratios: what is computed, what is refused, and that the page shows what was kept."""

import json

import judge
import pytest


def test_a_ratio_is_the_median_of_rounds_and_not_of_sums():
    found = judge.row("pair", [1.0, 2.0, 30.0, 4.0, 5.0], [2.0, 4.0, 10.0, 8.0, 5.0], 0.0)
    assert found["ratio"] == 0.5 and found["quartiles"] == [0.5, 1.0]
    assert found["seconds"] == [4.0, 5.0]


def test_work_of_this_process_is_not_the_work_of_others():
    def spin():
        sum(range(200_000))

    found = judge.measured("pair", spin, lambda: spin(), rounds=3)
    assert 0 <= found["others"] <= judge.machine()["cores"]
    assert found["ratio"] > 0


@pytest.mark.parametrize("others", [0.0, 1.5])
def test_a_busy_machine_keeps_nothing(others, tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{judge.BEGIN}old\n{judge.END}after\n")
    monkeypatch.setattr(judge, "PAGE", page)
    monkeypatch.setattr(judge, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(judge, "PAIRS", {"pair": lambda: (None, None)})
    monkeypatch.setattr(judge, "measured", lambda name, ours, plain: judge.row(name, [1.0, 1.0], [2.0, 2.0], others))
    assert judge.main() == (1 if others else 0)
    kept = list((tmp_path / "results").glob("*.json"))
    assert ("No conclusion" in capsys.readouterr().out) == bool(others)
    if others:
        assert not kept and "old" in page.read_text()
    else:
        assert json.loads(kept[0].read_text())["rows"][0]["ratio"] == 0.5
        assert "| pair | 0.50 (0.50 to 0.50) |" in page.read_text()
        assert page.read_text().startswith("before") and page.read_text().endswith("after\n")


def test_the_page_shows_what_was_kept():
    shown = judge.PAGE.read_text().split(judge.BEGIN)[1].split(judge.END)[0]
    assert shown == judge.page(judge.kept_results())
