"""Two states of the results side by side, and the index over benchmarks."""

import shutil
import subprocess
from html import unescape

import pandas as pd
import pytest

from mtcp.analysis.versions import compare_states, read_state
from mtcp.core.errors import UserError
from mtcp.core.files import write_record
from mtcp.core.project import Project
from mtcp.report.comparison import write_comparison
from mtcp.report.formats import difference, display
from mtcp.report.index import write_index
from mtcp.report.render import write_report
from mtcp.store.integrity import digests, stamping

pytestmark = pytest.mark.slow


@pytest.fixture
def other(tabled, tmp_path_factory):
    """Tables beside those of `tabled`: mtcp's depth is 0.01 m better under other keys, and `uncertainty` is gone."""
    folder = tmp_path_factory.mktemp("other") / "tables"
    shutil.copytree(tabled.root / "results/tables", folder)
    for name in ("runs", "provenance"):
        path = folder / f"rooms/{name}.csv"
        table = pd.read_csv(path, dtype=str)
        table = table[table.method != "uncertainty"]
        own = table.method == "mtcp"
        table.loc[own, "train_key"] = "ffffffffffffffff"
        if name == "runs":
            depth = own & (table.metric == "rmse")
            table.loc[depth, "value"] = (table.value[depth].astype(float) - 0.01).astype(str)
        table.to_csv(path, index=False)
    return folder


def test_paired_differences_and_what_changed(tabled, other):
    before, after = (read_state(tabled.root, str(folder)) for folder in (tabled.root, other))
    found = compare_states(before, after, Project(tabled.root)).set_index(["method", "metric"])
    depth = found.loc["mtcp", "rmse"]
    assert (depth.n, depth.improvement) == (4, pytest.approx(0.01))
    assert (depth.low, depth.high) == pytest.approx((0.01, 0.01))
    assert (depth.same, depth.changed) == (False, "training key")
    assert found.loc["single_task", "rmse"].same
    assert found.xs("uncertainty").changed.item() == f"not in {other}"


def test_a_multi_task_measure_also_depends_on_the_baseline(tabled, other):
    path = other / "rooms/provenance.csv"
    table = pd.read_csv(path, dtype=str)
    table.loc[table.method == "single_task", "train_key"] = "eeeeeeeeeeeeeeee"
    table.to_csv(path, index=False)
    before, after = (read_state(tabled.root, str(folder)) for folder in (tabled.root, other))
    found = compare_states(before, after, Project(tabled.root)).set_index(["method", "metric"])
    assert found.loc["mtl_baseline", "delta_m"].changed == "baseline: training key"
    assert not found.loc["mtl_baseline", "delta_m"].same
    assert found.loc["mtl_baseline", "rmse"].same
    assert found.loc["mtcp", "delta_m"].changed == "training key, baseline: training key"
    assert found.loc["single_task", "delta_m"].changed == "training key"


def test_equal_results_are_a_sentence_and_folders_go_by_their_names(tabled, other, monkeypatch):
    copy = tabled.root / "copy"
    shutil.copytree(tabled.root / "results/tables", copy)
    (tabled.root / "below").mkdir()
    monkeypatch.chdir(tabled.root / "below")
    html, markdown, _ = (path.read_text() for path in write_comparison(tabled.root, "../copy", ".."))
    assert f"<h1>copy → {tabled.root.name}</h1>" in html
    assert f"## Results: copy → {tabled.root.name}\n" in markdown
    for page in (html, markdown):
        assert "Nothing differs: " in page
        assert "Before" not in page and "| before |" not in page, "no empty table"


def test_folders_of_one_name_go_by_their_paths(tabled, other):
    shutil.copytree(other, tabled.root / "copies" / other.name)
    html = write_comparison(tabled.root, str(other), str(tabled.root / "copies" / other.name))[0].read_text()
    assert f"<h1>{other.resolve()} → {(tabled.root / 'copies' / other.name).resolve()}</h1>" in html


def test_a_state_compared_with_itself_differs_in_nothing(tabled):
    state = read_state(tabled.root, str(tabled.root))
    found = compare_states(state, state, Project(tabled.root))
    assert (found.improvement == 0).all(), "also where nothing is trained and every cost is 0"


def test_the_page_and_the_markdown_say_the_same(tabled, other):
    html, markdown, csv = write_comparison(tabled.root, str(tabled.root), str(other))
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in markdown.read_text().splitlines()
        if line.startswith("| ") and not line.startswith("| method")
    ]
    for cell in {cell for row in rows for cell in row}:
        assert f">{unescape(cell)}<" in unescape(html.read_text()), cell
    table = pd.read_csv(csv)
    listed = [each for each in table.itertuples() if not (str(each.same) == "True" and each.improvement == 0)]
    for cells, each in zip(rows, listed, strict=True):
        if isinstance(each.task, str):
            assert cells[2:6] == expected(each)
    cells = next(row for row in rows if row[:2] == ["mtcp", "Depth: RMSE (m)"])
    value = table[(table.method == "mtcp") & (table.metric == "rmse")].iloc[0]
    assert cells[2:6] == [f"{value.before:.4f}", f"{value.after:.4f}", "+0.0100", "[+0.0100, +0.0100]"]
    assert cells[6:] == ["4", "changed: training key"]
    assert "single_task" not in markdown.read_text()
    assert "measures with equal keys and equal numbers are not listed" in markdown.read_text()


def expected(row):
    """The four numbers of a row of compare.csv, by unit and digits."""
    shown, change = display(row.task, row.metric), difference(row.task, row.metric)
    per_cent = " %" if row.task == "cost" else ""
    return [
        shown.number(row.before), shown.number(row.after), change.number(row.improvement, signed=True) + per_cent,
        change.interval(row.low, row.high),
    ]  # fmt: skip


def commit_tables(root, tables="results/tables"):
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for arguments in (["init", "-q"], ["add", "-f", tables], ["commit", "-qm", "tables"]):
        subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


def test_a_commit_that_holds_tables_is_a_state(tabled, other):
    commit_tables(tabled.root)
    state = read_state(tabled.root, "HEAD")
    assert len(state.benchmarks["rooms"]["runs"]) == len(pd.read_csv(tabled.root / "results/tables/rooms/runs.csv"))
    found = compare_states(state, read_state(tabled.root, str(tabled.root)), Project(tabled.root))
    assert (found.improvement.dropna() == 0).all()
    assert found.same.dropna().all(), "keys are text on both sides, also one of digits alone"
    with pytest.raises(UserError, match="neither a folder nor a commit"):
        read_state(tabled.root, "no_such_thing")


def test_a_project_below_the_top_of_a_repository_has_states(tabled, tmp_path_factory):
    top = tmp_path_factory.mktemp("top")
    shutil.copytree(tabled.root / "results/tables", top / "project/results/tables")
    commit_tables(top, "project")
    assert list(read_state(top / "project", "HEAD").benchmarks) == ["rooms"]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_state_without_delta_m_is_compared(tabled, other, swapped: bool):
    """A grid of trivial methods alone has a multi_task.csv without rows."""
    path = other / "rooms/multi_task.csv"
    path.write_text(path.read_text().split("\n")[0] + "\n")
    states = [read_state(tabled.root, str(folder)) for folder in (tabled.root, other)]
    found = compare_states(*(states[::-1] if swapped else states), Project(tabled.root))
    assert set(found[found.method == "mtcp"].metric) >= {"miou", "rmse"}
    assert "multi_task" not in set(found.task)


def test_a_folder_without_tables_is_named(tabled, tmp_path_factory):
    with pytest.raises(UserError, match="holds no tables"):
        read_state(tabled.root, str(tmp_path_factory.mktemp("empty")))


def test_a_benchmark_that_this_project_does_not_define_is_listed(tabled, other):
    shutil.copytree(other / "rooms", other / "bedrooms")
    _, markdown, _ = write_comparison(tabled.root, str(other), str(other))
    title, *rows = markdown.read_text().split("### ")[1].split("\n")
    assert title == "bedrooms"
    assert "| mtcp | – | – | – | – | – | 0 | not compared: no config/benchmarks/bedrooms.yaml here |" in rows
    write_comparison(tabled.root, str(tabled.root), str(other))


def test_tables_that_were_changed_since_are_refused(tabled):
    folder = tabled.root / "results/tables/rooms"
    with stamping(folder / "grid-0123.stamp") as written:
        written += folder.glob("*.csv")
    state = read_state(tabled.root, str(tabled.root))
    assert list(state.benchmarks) == ["rooms"]
    with (folder / "runs.csv").open("a") as file:
        file.write("\n")
    for name in (tabled.root, folder.parent):
        with pytest.raises(UserError, match=r"runs\.csv is not the file that was written there"):
            read_state(tabled.root, str(name))


def test_an_archive_that_was_changed_since_is_refused(tabled, other):
    write_record(other / "archive.json", {"files": digests(other, other.rglob("*.csv"))})
    assert list(read_state(tabled.root, str(other)).benchmarks) == ["rooms"]
    (other / "rooms/claims.csv").unlink()
    with pytest.raises(UserError, match=r"is not the archive that was written: .*claims\.csv is missing"):
        read_state(tabled.root, str(other))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("runs", "a,b\n1,2\n", r"lacks the columns task, method, seed, .*no table of this version"),
        ("provenance", "method,seed\nmtcp,0\n", r"lacks the columns train_key, "),
        ("multi_task", "", "is damaged"),
        ("runs", "method,seed,selection,output,task,metric,value,environment\nmtcp,0,,,,,much,\n", "not numbers"),
    ],
)
def test_a_table_with_other_columns_is_named(tabled, other, name: str, content: str, words: str):
    (other / f"rooms/{name}.csv").write_text(content)
    with pytest.raises(UserError, match=rf"rooms/{name}\.csv .*{words}"):
        read_state(tabled.root, str(other))
    folder = tabled.root / "results/tables"
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    commit_tables(tabled.root)
    with pytest.raises(UserError, match=rf"HEAD:results/tables/rooms/{name}\.csv .*{words}"):
        read_state(tabled.root, "HEAD")


def test_the_index_links_every_report(tabled):
    write_report(tabled.root, "rooms")
    page = write_index(tabled.root).read_text()
    assert '<a href="rooms.html">Rooms (rendered)</a>' in page
    assert "27 of 28" in page
    assert "not run" in page
