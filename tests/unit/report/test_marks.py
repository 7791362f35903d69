"""Numbers that are not what they seem carry a mark, and no label holds a number that the configuration does not."""

import re

import pandas as pd
import pytest
import yaml

from mtcp.report.render import write_report

pytestmark = pytest.mark.slow


def flagged(root, method: str, flags: str) -> None:
    path = root / "results/tables/rooms/methods.csv"
    table = pd.read_csv(path)
    table["flags"] = table["flags"].astype("object")
    table.loc[table.method == method, "flags"] = flags
    table.to_csv(path, index=False)


def test_the_cells_of_a_task_that_was_never_trained_are_marked(tabled):
    """The task's metrics and Delta_m, which averages over it, of that method alone."""
    flagged(tabled.root, "uncertainty", "untrained:depth")
    html, tex = (path.read_text() for path in write_report(tabled.root, "rooms")[:2])
    summary = pd.read_csv(tabled.root / "results/tables/rooms/summary.csv")
    last = summary[(summary.selection == "last") & (summary.output == "final")].set_index(["method", "metric"])["mean"]
    for page in (html, tex):
        for metric, digits, mark in (("rmse", 4, True), ("delta_m", 2, True), ("miou", 2, False)):
            scale = 100 if metric == "miou" else 1
            text = re.escape(f"{scale * last['uncertainty', metric]:.{digits}f}".replace("-", ""))
            assert bool(re.search(rf"{text}\s*†|{text}[^0-9<&]*\\?\$?\^?\{{?\\?dag", page)) == mark, metric
        assert "depth was never trained" in page
    other = f"{last['mtcp', 'rmse']:.4f}"
    assert f"{other} †" not in html


def test_a_mean_over_fewer_seeds_than_the_method_has_is_marked(tabled):
    """Such as a metric that is not defined on one seed; in HTML and LaTeX, and said below the table."""
    path = tabled.root / "results/tables/rooms/summary.csv"
    table = pd.read_csv(path)
    own = (table.method == "mtcp") & (table.selection == "last") & (table.output == "final")
    seeds = table.loc[own & (table.metric == "miou"), "n"].item()
    table.loc[own & (table.metric == "rmse"), "n"] = seeds - 1
    table.to_csv(path, index=False)
    html, tex = (path.read_text() for path in write_report(tabled.root, "rooms")[:2])
    value = f"{table.loc[own & (table.metric == 'rmse'), 'mean'].item():.4f}"
    assert re.search(rf"{value} ‡<", html) and re.search(rf"{value} ?\$\^\\ddagger\$", tex)
    assert f"‡ MT-CP (as intended): Depth RMSE m over {seeds - 1} of {seeds} seeds" in html
    assert html.count(" ‡</span>") == html.count(f"{value} ‡</span>"), "no other cell is marked"


@pytest.mark.parametrize(("cap", "label"), [(6.5535, "RMSE below 6.5535 m"), (3.0, "RMSE below 3 m")])
def test_the_label_of_capped_depth_says_the_benchmarks_cap(tabled, cap, label):
    path = tabled.root / "config/benchmarks/rooms.yaml"
    content = yaml.safe_load(path.read_text())
    content["evaluation"]["depth_cap"] = cap
    path.write_text(yaml.safe_dump(content))
    page = write_report(tabled.root, "rooms")[0].read_text()
    found = re.findall(r"RMSE below [\d.]+ m(?= m? ?↓)", page)
    assert found and set(found) == {label}
