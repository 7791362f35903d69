"""Names that one configuration file uses of another are known, or are named with file, line and key."""

import shutil
from pathlib import Path

import pytest

from mtcp.core.errors import UserError
from mtcp.core.ledger import load_ledger
from mtcp.core.project import Project
from mtcp.core.published import published_rows, read_published
from mtcp.core.references import require_known_names

ROWS = "config/benchmarks/rooms.yaml"
CLAIM = "- {id: a, text: A., evidence: code, source: s, method: mtcp, "


@pytest.fixture
def project(tmp_path: Path, root: Path) -> Path:
    shutil.copytree(root / "config", tmp_path / "config")
    (tmp_path / "results").mkdir()
    shutil.copy(root / "results/published.csv", tmp_path / "results")
    (tmp_path / "params.yaml").write_text("benchmarks: [rooms]\nmethods:\n- mtcp\n- single_task\nseeds: [0]\n")
    return tmp_path


def test_the_shipped_files_name_nothing_unknown(project: Path) -> None:
    require_known_names(Project(project))


def test_the_ledgers_tests_are_there(root: Path) -> None:
    covers = {cover for row in load_ledger(root / "config/ledger.yaml") for cover in row.covered_by}
    folders = {cover for cover in covers if cover.startswith("tests")}
    assert folders and all((root / folder).is_dir() for folder in folders)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (
            "params.yaml",
            "- single_task",
            "- singel_task",
            "key 'methods.1': unknown method 'singel_task'; did you mean",
        ),
        ("config/methods.yaml", "scheme: {name: dwa}", "scheme: {name: dwaa}", "key 'dwa.scheme.name': unknown scheme"),
        (
            "config/methods.yaml",
            "{name: mtcp, coherence: none}",
            "{name: mtpc}",
            "architecture.name': unknown architect",
        ),
        (ROWS, "  lps: {kappa: 1.6}", "  lsp: {kappa: 1.6}", "key 'scheme_parameters.lsp': unknown scheme 'lsp'; did"),
        (ROWS, "layout: nyud", "layout: nyud\nbaseline: singletask", "key 'baseline': unknown method 'singletask'"),
        (ROWS, "layout: nyud", "layout: nyud\nreference: mtpc", "key 'reference': unknown method 'mtpc'; did you mean"),
    ],
)
def test_an_unknown_name_is_one_sentence(project: Path, file: str, old: str, new: str, said: str) -> None:
    path = project / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        require_known_names(Project(project))
    changed = next(place for place, line in enumerate(path.read_text().splitlines(), 1) if new.splitlines()[-1] in line)
    assert str(caught.value).startswith(f"{path}, line {changed}, ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ("reference: mtcq}", "entry 1, key 'reference': unknown method 'mtcq'; did you mean 'mtcp'?"),
        ("reference: dwa, benchmarks: [roms]}", "entry 1, key 'benchmarks': unknown benchmark 'roms'"),
        ("reference: dwa, measure: semsg}", "entry 1, key 'measure': unknown measure 'semsg'; did you mean 'semseg'?"),
        ("reference: dwa, measure: depth, metric: rsme}", "key 'metric': unknown metric of depth 'rsme'; did you mean"),
        ("reference: dwa, mesure: depth}", "entry 1, key 'mesure': unknown key; did you mean 'measure'?"),
        ("}", "give either `reference` (a method) or `published` (a number)"),
        (
            "published: {dataset: NYUD-v2, task: semseg, metric: mIoU, method: MTFromer}}",
            "entry 1, key 'published': results/published.csv has no rows 'NYUD-v2 semseg mIoU MTFromer'",
        ),
        (
            "measure: semseg, published: {dataset: NYUD-v2, task: semseg, metric: mIoU, method: MTFormer}}",
            "'semseg mIoU' is printed in another unit than ours: give `scale: 0.01`",
        ),
        (
            "measure: semseg, published: {dataset: NYUD-v2, task: depth, metric: RMSE, method: MTFormer}}",
            "'depth RMSE' is depth, the measure is semseg",
        ),
        (
            "measure: depth, metric: abs_error, published: {dataset: NYUD-v2, task: depth, metric: RMSE, "
            "method: MTFormer}}",
            "'depth RMSE' is rmse or rmse_capped, the metric is abs_error",
        ),
    ],
)
def test_a_wrong_claim_is_named_when_the_plan_is_made(project: Path, claim: str, said: str) -> None:
    (project / "config/claims.yaml").write_text(CLAIM + claim)
    with pytest.raises(UserError) as caught:
        require_known_names(Project(project))
    assert "claims.yaml, line 1, " in str(caught.value)
    assert said in str(caught.value)


OWN = """\
title: Own
images: "i/{split}/{id}.png"
tasks: {height: {kind: regression, files: "h/{id}.png"}}
"""


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ("reference: single_task, measure: height}", None),
        ("reference: single_task, measure: height, metric: abs_error, benchmarks: [own]}", None),
        ("reference: single_task, measure: heigth}", "key 'measure': unknown measure 'heigth'; did you mean 'height'?"),
        ("reference: single_task, measure: height, metric: miou}", "key 'metric': unknown metric of height 'miou'"),
    ],
)
def test_a_claim_may_be_about_a_task_under_a_name_of_ones_own(project: Path, claim: str, said: str | None) -> None:
    (project / "data").mkdir()
    (project / "data/own.yaml").write_text(OWN)
    text = "extends: rooms\nlabel: Own\nlayout: own\nrendered: null\n"
    tasks = "tasks: {semseg: null, depth: null, normals: null, edge: null, height: {kind: regression, rope: 1}}\n"
    (project / "config/benchmarks/own.yaml").write_text(text + tasks)
    (project / "params.yaml").write_text("benchmarks: [own]\nmethods: [mtcp, single_task]\nseeds: [0]\n")
    (project / "config/claims.yaml").write_text(CLAIM + claim)
    try:
        require_known_names(Project(project))
        found = ""
    except UserError as error:
        found = str(error)
    assert said in found if said else not found


ROW = "- {id: '1', severity: A, evidence: code, released: R., where: [a.py:1], here: H., covered_by: [method mtcp]}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("here: H., ", "", "entry 1, key 'here': required, and missing"),
        ("here:", "her:", "entry 1, key 'her': unknown key"),
        ("severity: A", "severity: D", "entry 1, key 'severity': expected one of A, B, C; got 'D'"),
        ("[a.py:1]", "a.py:1", "entry 1, key 'where': expected a list such as [a.py:1], got 'a.py:1'"),
        ("method mtcp", "method mtcq", "entry 1, key 'covered_by.0': unknown method 'mtcq'; did you mean 'mtcp'?"),
    ],
)
def test_a_wrong_row_of_the_ledger_is_named_when_the_plan_is_made(project: Path, old: str, new: str, said: str) -> None:
    (project / "config/ledger.yaml").write_text(ROW.replace(old, new))
    with pytest.raises(UserError) as caught:
        require_known_names(Project(project))
    assert "ledger.yaml, line 1, " in str(caught.value)
    assert said in str(caught.value)


def test_the_ledger_has_its_rows_with_facts(root: Path, tmp_path: Path) -> None:
    path = root / "config/ledger.yaml"
    rows = load_ledger(path)
    assert {row.severity for row in rows} == {"A", "B", "C"}
    assert all(row.covered_by and row.released.endswith(".") for row in rows)
    (twice := tmp_path / "ledger.yaml").write_text(f"{ROW}\n{ROW}")
    with pytest.raises(UserError, match=r"ledger.yaml, line 2, entry 2, key 'id': '1' is used twice"):
        load_ledger(twice)


HEAD = "dataset,task,metric,method,backbone,value,source\n"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('A,semseg,mIoU,B,C,"0,50",D', "line 2, column 'value': '0,50' is not a number"),
        ("A,semseg,mIoU,B,C,50 %,D", "line 2, column 'value': '50 %' is not a number"),
        ("A,semseg,mIoU,B,C,0,50,D", "line 2: 8 values where the 7 columns"),
        ("A,semseg,mIoU,B,C,50", "line 2: 6 values where the 7 columns"),
        ("A,semseg,mIoU,B,C,,D", "line 2: value missing: every number needs all columns"),
        ("A,semseg,mIoU,B,C,50,", "line 2: source missing: every number needs all columns"),
        ("A,semseg,mIoU,B,C,nan,D", "line 2, column 'value': 'nan' is not a number"),
        ('A,semseg,mIoU,"B,C,50,D', "after line 2: unexpected end of data"),
        (
            "NYUD-v2,semseg,mIoU,B,C,50,D\nNYUD-v2,semseg,mIoU,B,C,51,D",
            "line 3: line 2 has this number already; remove one",
        ),
        ("NYUDv2,semseg,mIoU,B,C,50,D", "line 2: nothing reads dataset 'NYUDv2'; did you mean 'NYUD-v2'?"),
    ],
)
def test_a_published_number_that_is_none_is_named_with_its_line(project: Path, row: str, said: str) -> None:
    path = project / "results/published.csv"
    path.write_text(f"{HEAD}{row}\n")
    with pytest.raises(UserError) as caught:
        require_known_names(Project(project))
    assert str(caught.value).startswith(f"{path}, {said}")


def test_a_table_of_a_spreadsheet_is_named_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    path.write_text(HEAD.replace(",", ";"))
    with pytest.raises(UserError, match="line 1: the columns must be dataset, task"):
        read_published(path)
    path.write_bytes(HEAD.encode() + "A,semseg,mIoU,Müller,C,50,D\n".encode("latin-1"))
    with pytest.raises(UserError, match="line 2: byte 0xfc is not UTF-8"):
        read_published(path)
    path.write_bytes(("\ufeff" + HEAD).encode() + b"A,semseg,mIoU,B,C,50.40,D\r\n")
    assert [row["value"] for _, row in read_published(path)] == ["50.40"]
    assert published_rows(tmp_path / "absent") == []
