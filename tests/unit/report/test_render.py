"""Reports: what they must show, that they render and never compute, and that text of users cannot break them."""

import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pandas as pd
import pytest
from made_up_store import made_up_record, make_store, measure_all, parameters
from PIL import Image

from mtcp.analysis.tables import write_tables
from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.run_config import TaskConfig
from mtcp.report.chart_parts import fitting
from mtcp.report.figures import weight_charts
from mtcp.report.formats import Display, difference, display, probability
from mtcp.report.index import write_index
from mtcp.report.page import Page
from mtcp.report.render import compile_pdf, write_private_report, write_report
from mtcp.report.templating import escape_tex, tex_environment
from mtcp.report.view import build_view

pytestmark = pytest.mark.slow
BANNER = "Private: contains photographs of the data set; do not publish"


class Elements(HTMLParser):
    """All start tags with their attributes, and the visible text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._hidden = [], [], 0
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._hidden:
            self.text.append(data)


def visible(html):
    return re.sub(r"\s+", " ", " ".join(Elements(html).text))


def test_report_shows_what_the_tables_say(tabled):
    html, tex, _ = write_report(tabled.root, "rooms")
    page, source = html.read_text(), tex.read_text()
    summary = pd.read_csv(tabled.root / "results/tables/rooms/summary.csv")
    row = summary[(summary.method == "mtcp") & (summary.metric == "rmse") & (summary.selection == "last")].iloc[0]
    text = visible(page)
    assert f"{row['mean']:.4f} ± {row.sd:.4f}" in text
    assert f"{row['mean']:.4f}" in source
    for wanted in (
        "MT-CP (as intended)", "Per-pixel prior", "without CFM †", "negative weights", "n = 3",
        "12 claims not run here", "Ground truth",
        "diverged on 1 of 4 seeds (loss_depth is not finite at step 12)", "not among the methods of the grid",
        "wraps around in 8-bit images", "cccccccccc", "dddddddddddd", "cpu-torch2.15",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert 'class="best"' in page
    assert r"\textbf{" in source
    assert r"\underline{" in source
    assert r"\toprule" in source


def test_report_computes_nothing(tabled):
    """Change one cell of a table, and exactly that number changes on the page."""
    path = tabled.root / "results/tables/rooms/summary.csv"
    table = pd.read_csv(path)
    cell = (table.method == "mtcp") & (table.metric == "mean") & (table.selection == "last")
    table.loc[cell, "mean"] = 12.345
    table.to_csv(path, index=False)
    html, tex, _ = write_report(tabled.root, "rooms")
    assert "12.35" in visible(html.read_text())
    assert "12.35" in tex.read_text()


def test_weights_that_are_negative_by_design_are_a_note_without_a_mark(tabled):
    path = tabled.root / "results/tables/rooms/methods.csv"
    table = pd.read_csv(path)
    table.loc[table.method == "mtcp_no_cfm", "flags"] = "negative_by_design"
    table.loc[table.method == "mtcp", "flags"] = "negative_by_design;stayed_equal"
    table.to_csv(path, index=False)
    html, tex, _ = write_report(tabled.root, "rooms")
    text = visible(html.read_text())
    assert "without CFM †" not in text
    assert "† without CFM" not in text
    for page in (text, tex.read_text()):
        assert "without CFM: some weights were negative, as the scheme's solution allows" in page
    assert "† MT-CP (as intended): weights stayed equal although they should have moved" in text
    assert "MT-CP (as intended): some weights were negative" in text


def test_sentences_say_no_more_than_the_numbers(tabled):
    html, tex, _ = write_report(tabled.root, "rooms")
    text = visible(html.read_text())
    assert "does harm" not in text + tex.read_text()  # of a mean whose interval may hold zero
    assert "In a tie, the method that the grid names first ranks first." in text
    assert "a tie counts one half" in text
    assert "a conclusion must pass the ROPE as well" in text


def test_report_is_self_contained(tabled):
    page = write_report(tabled.root, "rooms")[0]
    elements = Elements(page.read_text())
    for tag, attributes in elements.tags:
        for name in ("src", "href", "srcset", "action"):
            target = attributes.get(name)
            assert target is None or target.startswith(("#", "data:")), (tag, target)
    assert page.stat().st_size < 5e6
    specs = [
        json.loads(block) for block in re.findall(r'<script type="application/json">(.*?)</script>', page.read_text())
    ]
    # Claims, forest, tasks, ranks, trade-off, outputs; seeds, losses, weights, and the losses under LPS.
    assert len(specs) == 6 + 4 + 4 + 5 + 2
    forest = specs[1]["layer"]
    assert [len(layer["data"]["values"]) for layer in forest] == [1, 1, 6, 6 * 4 - 1, 6]  # not the trivial baseline
    assert all("$schema" not in spec and "url" not in json.dumps(spec) for spec in specs)


def test_report_is_the_same_bytes_twice(tabled):
    first = [path.read_bytes() for path in write_report(tabled.root, "rooms")]
    assert first == [path.read_bytes() for path in write_report(tabled.root, "rooms")]


def test_a_hostile_label_stays_text(tabled):
    path = tabled.root / "results/tables/rooms/methods.csv"
    table = pd.read_csv(path)
    label = r"</script><b>50% & \input{x} #_$ 中"
    table.loc[table.method == "mtcp", "label"] = label
    table.to_csv(path, index=False)
    html, tex, _ = write_report(tabled.root, "rooms")
    assert label in " ".join(Elements(html.read_text()).text)
    assert r"$<$/script$>$$<$b$>$50\% \& \textbackslash{}input\{x\} \#\_\$ ?" in tex.read_text()
    if shutil.which("pdflatex"):
        compile_pdf(tex)


def test_partial_report_says_so(store):
    store.write(store.plan.run("rooms", "mtcp", 0))
    store.write(store.plan.run("rooms", "single_task", 0))
    write_tables(store.plan, "rooms", partial=True)
    html, tex, _ = write_report(store.root, "rooms")
    text = visible(html.read_text())
    assert "Partial: 26 of 28 runs not done" in text
    assert "One seed allows no conclusion" in text
    assert "the run is missing" in text
    assert "reproduced." not in text
    if shutil.which("pdflatex"):
        compile_pdf(tex)


def test_an_empty_store_still_renders(store):
    write_tables(store.plan, "rooms", partial=True)
    html, tex, _ = write_report(store.root, "rooms")
    assert "0 of 28" in visible(html.read_text())
    if shutil.which("pdflatex"):
        compile_pdf(tex)


def test_samples_are_embedded_for_rendered_scenes_only(tabled):
    run = tabled.plan.run("rooms", "mtcp", 0)
    (run.directory / "samples").mkdir()
    Image.new("RGB", (64, 48), "red").save(run.directory / "samples/0-room.png")
    assert "data:image/webp" in write_report(tabled.root, "rooms")[0].read_text()
    config = tabled.root / "config/benchmarks/rooms.yaml"
    config.write_text(re.sub(r"(?m)^rendered:.*\n", "", config.read_text()))
    page = write_report(tabled.root, "rooms")[0].read_text()
    assert "data:image/webp" not in page
    assert "Real photographs are not embedded" in page
    assert BANNER not in page
    private = write_private_report(tabled.root, "rooms")
    assert private.name == "rooms-private.html"
    assert "data:image/webp" in private.read_text() and BANNER in private.read_text()
    assert (tabled.root / "reports/rooms.html").read_text() == page
    assert "rooms-private" not in write_index(tabled.root).read_text()


def test_costs_measured_apart_stand_on_rounds(done):
    """What lies behind such a verdict are no seeds, and further seeds would not add to it."""
    measure_all(done)
    write_tables(done.plan, "rooms")
    page = write_report(done.root, "rooms")[0].read_text()
    seen = visible(page)
    assert "those of 'mtcp benchmark': 8 rounds" in seen
    trains, accurate = (
        seen[seen.rindex(f"One MT-CP network {what} than one network per task.") :][:400]
        for what in ("trains faster", "is more accurate")
    )
    assert "8 rounds behind it" in trains and "4 seeds behind it" in accurate
    assert "at least 7 rounds are needed to conclude" in seen


def test_literature_stands_apart(tabled):
    published = pd.read_csv(tabled.root / "results/published.csv")
    published[published.dataset == "NYUD-v2"].to_csv(tabled.root / "results/tables/rooms/literature.csv", index=False)
    html, tex, _ = write_report(tabled.root, "rooms")
    assert "From the literature" in visible(html.read_text())
    rows = published[published.dataset == "NYUD-v2"]
    assert len(rows) > 20
    for number in {f"{value:g}" for value in rows.value}:
        assert f">{number.replace('-', '−')}</td>" in html.read_text()
        assert f" {number.replace('-', '$-$')} " in tex.read_text()
    assert "From the literature: NYUD-v2" in tex.read_text()
    if shutil.which("pdflatex"):
        compile_pdf(tex)


def test_missing_tables_are_named(store):
    with pytest.raises(UserError, match=r"\w+.csv is missing: make the tables first with `mtcp tables rooms`"):
        write_report(store.root, "rooms")


def test_pdf_without_pdflatex(tabled, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="`--pdf` needs pdflatex"):
        write_report(tabled.root, "rooms", pdf=True)


@pytest.mark.latex
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_pdf_compiles(tabled):
    pdf = write_report(tabled.root, "rooms", pdf=True)[-1]
    assert pdf.read_bytes().startswith(b"%PDF")


def test_a_task_under_a_name_of_ones_own_is_shown_like_its_kind_in_its_unit(root):
    tasks = {
        "height": TaskConfig(kind="regression", unit="cm"),
        "range": TaskConfig(kind="depth"),
        "far": TaskConfig(kind="depth", unit="px"),
    }
    benchmark = Project(root).benchmark("rooms").model_copy(update={"tasks": tasks})
    assert display("height", "rmse", benchmark) == Display("RMSE", digits=4, unit="cm")
    assert display("range", "log_rmse", benchmark) == display("depth", "log_rmse") == Display("log-RMSE", digits=4)
    assert display("range", "rmse", benchmark).unit == "m"
    assert difference("height", "abs_error", benchmark).unit == "cm"
    assert display("far", "rmse_capped", benchmark) == Display("RMSE below 6.5535 px", digits=4, unit="px")


@pytest.mark.slow
def test_a_validation_loss_that_overflowed_leaves_a_gap(small):
    run = small.plan.run("rooms", "uncertainty", 1)
    history = pd.read_csv(run.directory / "history.csv")
    history.loc[1, "validation_loss_depth"] = math.inf
    history.to_csv(run.directory / "history.csv", index=False)
    made_up_record(run, parameters=parameters(run.method)).write(run.run_path)
    write_tables(small.plan, "rooms")
    assert math.inf in set(pd.read_csv(small.root / "results/tables/rooms/curves.csv").greatest)
    write_report(small.root, "rooms")
    assert "Infinity" not in (small.root / "reports/rooms.html").read_text()


def test_equal_weights_prioritise_no_task_and_constant_ones_do_not_change(tabled):
    page = Page.read(Project(tabled.root), "rooms")
    curves, methods = page.tables["curves"], page.tables["methods"]
    mtcp = curves[curves.method == "mtcp"]
    (chart,) = weight_charts(mtcp, methods, page.tasks)[:1]
    epochs = {row["epoch"] for layer in chart["spec"]["layer"] for row in _values(layer) if "begin" in row}
    assert epochs == {1, 2}  # the made-up weights are all 1 in epoch 0
    fixed = {f"weight_{task.name}": 1.0 + place for place, task in enumerate(page.tasks)}
    constant = mtcp.assign(mean=mtcp.column.map(fixed).fillna(mtcp["mean"]))
    assert weight_charts(constant, methods, page.tasks) == []


def _values(layer):
    return layer.get("data", {}).get("values", [])


def test_tex_joins_no_characters_of_a_name():
    """TeX's fonts would print a--b with a dash, and ?` as one character."""
    assert escape_tex("a--b --- ''c'' ``d``") == "a-{}-b -{}-{}- '{}'c'{}' `{}`d`{}`"
    assert escape_tex("?` !` ,, - – —") == "?{}` !{}` ,{}, - -- ---"
    assert escape_tex("–- ’’") == "--{}- '{}'"


@pytest.mark.latex
@pytest.mark.parametrize(("rows", "label"), [(60, "Scheme"), (2, "a name without an end, " + "withoutaspace" * 20)])
def test_a_table_of_many_rows_or_of_long_names_stays_on_its_pages(tabled, rows, label):
    view = build_view(tabled.root, "rooms")
    long = [dict(row, label=f"{label} {place}") for place in range(rows) for row in view["comparison"]["rows"][:1]]
    runs = [dict(view["provenance"][0], method=row["label"]) for row in long]
    view |= {"comparison": view["comparison"] | {"rows": long}, "provenance": runs}
    path = tabled.root / "many.tex"
    path.write_text(tex_environment().get_template("report.tex.j2").render(view))
    for _ in range(2):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", path.name],
            cwd=path.parent, capture_output=True, text=True, check=False, errors="replace",
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_one_of_anything_is_no_plural(tabled):
    """One claim in a family that needs one seed, one comparison, one run, one row of the ledger."""
    folder = tabled.root / "results/tables/rooms"
    claims = pd.read_csv(folder / "claims.csv")
    one = (claims.n > 0).idxmax()
    claims.loc[one, ["least_n", "family_size"]] = 1
    claims.loc[[one, (claims.verdict == "not run").idxmax()]].to_csv(folder / "claims.csv", index=False)
    compared = pd.read_csv(folder / "comparisons.csv")[:1].assign(family_size=1)
    compared.to_csv(folder / "comparisons.csv", index=False)
    for name in ("provenance", "literature"):
        if (folder / f"{name}.csv").exists():
            pd.read_csv(folder / f"{name}.csv")[:1].to_csv(folder / f"{name}.csv", index=False)
    text = visible(write_report(tabled.root, "rooms")[0].read_text())
    assert "at least 1 seed is needed to conclude" in text
    assert "1 claim not run here" in text
    assert "family of 1 comparison can be" in text
    assert re.findall(r"(?<![\w.,])1 (?:seeds|claims|comparisons|runs|rows|rounds|methods)(?! of)", text) == []


def test_one_seed_has_no_interval_and_no_second_dash(tmp_path):
    store = make_store(tmp_path, range(1))
    store.write_all()
    write_tables(store.plan, "rooms")
    view = build_view(tmp_path, "rooms")
    changes = [row["cells"][-1] for row in view["ablation"]["rows"]]
    assert [cell["more"] for cell in changes] == [""] * len(changes)
    assert {table["caption"].partition(". ")[0].partition(": ")[2] for table in view["paper"]} == {
        "mean over n = 1 seed"
    }
    scales = [item["spec"]["encoding"]["x"]["scale"] for item in view["strips"]]
    assert all(scale == {"zero": False} for scale in scales)  # several methods


def test_around_one_value_alone_an_axis_has_room():
    """The one tick of an axis from 0.5004 to 0.5004 would be labelled 1."""
    low, high = fitting(pd.Series([0.5004, 0.5004, float("inf")])).to_dict()["domain"]
    assert (low, high) == pytest.approx((0.47538, 0.52542))
    assert fitting(pd.Series([0.0])).to_dict()["domain"] == [-1, 1]
    for values in ([0.5, 0.6], [], [float("nan")]):
        assert fitting(pd.Series(values, dtype=float)).to_dict() == {"zero": False}


def test_coherence_marks_no_best_since_ablations_stand_in_the_same_rows(tabled):
    table = build_view(tabled.root, "rooms")["coherence"]
    assert {cell["mark"] for row in table["rows"] for cell in row["cells"]} == {""}


def test_the_best_by_the_mean_says_over_which_seeds(tabled):
    folder = tabled.root / "results/tables/rooms"
    whole = build_view(tabled.root, "rooms")["winners"]  # uncertainty diverged on one seed of four
    assert "by the mean over all seeds that a method has" in whole.replace("By", "by")
    summary = pd.read_csv(folder / "summary.csv")
    summary.loc[summary.metric == "delta_m", "n"] = pd.read_csv(folder / "ranks.csv").seed.nunique()
    summary.to_csv(folder / "summary.csv", index=False)
    assert "that a method has" not in build_view(tabled.root, "rooms")["winners"]


def test_without_a_chart_there_is_no_list_of_methods_to_highlight(store):
    write_tables(store.plan, "rooms", partial=True)
    page = write_report(store.root, "rooms")[0].read_text()
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert "charts" not in links
    assert 'id="first"' not in page
    assert links <= set(re.findall(r'id="([^"]+)"', page))


def test_tex_escaping():
    assert escape_tex("[ours] *") == "{}[ours] *"
    assert escape_tex("\u0127 \x85 \xe9") == "? ? \xe9"
    assert escape_tex("a_b & 5 % of κ ± 1°") == r"a\_b \& 5 \% of $\kappa$ $\pm$ 1\textdegree{}"


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (display("semseg", "miou").number(0.41234), "41.23"),
        (display("depth", "rmse").number(0.5), "0.5000"),
        (display("normals", "rmse").number(30.126), "30.13"),
        (display("multi_task", "delta_m").number(-1.236, signed=True), "−1.24"),
        (display("semseg", "miou").number(float("nan")), "–"),
        (display("semseg", "own_metric").number(0.5), "0.5000"),
        (difference("cost", "parameters").interval(-1.0, 2.0), "[−1.0, +2.0]"),
        (probability(0.00001), "< 0.001"),
        (probability(0.9999), "> 0.999"),
        (probability(1.0), "1"),
        (probability(0.25), "0.250"),
    ],
)
def test_numbers_as_shown(shown, text):
    assert shown == text
