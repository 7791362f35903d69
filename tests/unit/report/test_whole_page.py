"""The whole page read back: every number that a table or a verdict shows equals its cell in a CSV file."""

import re
import shutil
from html import unescape
from html.parser import HTMLParser
from math import isnan

import pandas as pd
import pytest

from mtcp.report.formats import PER_CENT, display
from mtcp.report.render import write_report

pytestmark = pytest.mark.slow

PRIMARY = {"semseg": "miou", "depth": "rmse", "normals": "mean", "edge": "ods_f"}


class Tables(HTMLParser):
    """Every table of a page: (its section's id, its label, head, rows); a cell is its text, parts joined by spaces."""

    def __init__(self, html):
        super().__init__()
        self.found, self._section, self._label, self._cell, self._quiet = [], "", "", None, 0
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self._quiet += tag in ("script", "style", "svg")
        if tag == "section":
            self._section = attributes.get("id", "")
        if tag == "div" and "scroll" in attributes.get("class", ""):
            self._label = attributes["aria-label"]
        if tag == "table":
            self.found.append((self._section, self._label, []))
        if tag == "tr":
            self.found[-1][2].append([])
        if tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag):
        self._quiet -= tag in ("script", "style", "svg")
        if tag in ("td", "th"):
            self.found[-1][2][-1].append(re.sub(r"\s+", " ", " ".join(self._cell)).strip())
            self._cell = None

    def handle_data(self, data):
        if self._cell is not None and not self._quiet:
            self._cell.append(data)


@pytest.fixture(scope="module")
def read(tmp_path_factory, _tabled):
    """The page, its LaTeX, and the CSV files behind both."""
    root = tmp_path_factory.mktemp("whole")
    shutil.copytree(_tabled, root, dirs_exist_ok=True)
    page, *tex = write_report(root, "rooms")
    folder = root / "results/tables/rooms"
    csv = {path.stem: pd.read_csv(path) for path in folder.glob("*.csv")}
    return page.read_text(), tex, csv


def shown(task, metric, value, signed=False):
    """`value` as the report prints it, from unit and digits alone."""
    if value is None or isnan(value):
        return "–"
    unit = display(task, metric)
    return f"{value * unit.scale:{'+' if signed else ''}z,.{unit.digits}f}".replace("-", "−")


def interval(task, metric, low, high):
    if isnan(low) or isnan(high):
        return "–"
    return f"[{shown(task, metric, low, True)}, {shown(task, metric, high, True)}]"


def result_cells(csv, selection, output, label, columns):
    """What a row of a table of results must show, from summary.csv alone."""
    method = csv["methods"].set_index("label").method[label]
    rows = csv["summary"][csv["summary"].method == method]
    for task, metric in columns:
        own = rows[(rows.task == task) & (rows.metric == metric)]
        if task != "cost":
            own = own[(own.selection == selection) & (own.output == output)]
        if own.empty:
            yield "–"
            continue
        row, change = own.iloc[0], task == "multi_task"
        text = shown(task, metric, row["mean"], change)
        if change:
            baseline = method == "single_task" and output == "final"
            yield "0" if baseline else f"{text} {interval(task, metric, row.low, row.high)}".removesuffix(" –")
        else:
            yield f"{text} ± {shown(task, metric, row.sd)}" if row.sd > 0 or (task != "cost" and row.sd == 0) else text


COSTS = [("cost", name) for name in ("parameters", "gflops", "seconds_per_image", "seconds_per_step", "peak_memory_mb")]
OUTPUTS = {"final output": "final", "first auxiliary output": "aux1"}
SELECTIONS = {"Last epoch": "last", "Best epoch on the validation split": "validation"}


def clean(label):
    return re.sub(r" n = \d+$", "", label).rstrip(" †‡")


def agree(found, expected):
    expected = expected if isinstance(expected, tuple) else (expected,)
    return any(found == each or found.startswith(f"{each} [") for each in expected)


def check_results(csv, label, rows):
    """A table of methods by metrics: comparison, ablation, coherence, and what is folded below the comparison."""
    selection, output = "last", "final"
    summary = csv["summary"]
    numbers = summary[(summary.task != "cost") & (summary.output != "truth")]
    primary = [*PRIMARY.items(), ("multi_task", "delta_m")]
    if label in ("Comparison of all methods", "Ablation"):
        columns = [*primary, *(COSTS if label != "Ablation" else [])]
    elif label == "Coherence between tasks":
        own = numbers[(numbers.task == "coherence") & (numbers.selection == "last")]
        columns = [*(("coherence", metric) for metric in dict.fromkeys(own.metric)), ("multi_task", "delta_coherence")]
    else:
        if label != "All metrics, last epoch":
            first, second = label.split(", ")
            selection, output = SELECTIONS[first], OUTPUTS[second]
        own = numbers[(numbers.selection == selection) & (numbers.output == output)]
        columns = list(dict.fromkeys(zip(own.task, own.metric, strict=True)))
        if label != "All metrics, last epoch":
            columns = [column for column in columns if column in primary]
    checked = 0
    for head, *cells in rows[1:]:
        if head.startswith("Ground truth"):
            truth = summary[(summary.output == "truth")].drop_duplicates("metric").set_index("metric")["mean"]
            expected = [shown("coherence", metric, truth.get(metric)) for _, metric in columns]
        else:
            expected = list(result_cells(csv, selection, output, clean(head), columns))
        for cell, wanted in zip(cells, expected, strict=False):
            assert agree(cell, wanted), (label, head, cell, wanted)
            checked += 1
        if label == "Ablation":
            assert cells[-1] == " ".join(change_of(csv, clean(head))).strip()
    return checked


def change_of(csv, label):
    """The change of Delta_m against the reference, and its interval; a dash for the reference itself."""
    compared = csv["comparisons"]
    method = csv["methods"].set_index("label").method[label]
    own = compared[(compared.family == "mtcp/delta_m") & (compared.method == method)]
    if own.empty:
        return "–", ""
    row = own.iloc[0]
    return shown("multi_task", "delta_m", row.improvement, True), interval("multi_task", "delta_m", row.low, row.high)


def check_family(csv, rows):
    """Paired comparisons: the family is found by the first row's numbers, then every cell compared."""
    labels = csv["methods"].set_index("label").method
    compared = csv["comparisons"]
    methods = [labels[clean(row[0]).removesuffix(" (mixed environments)")] for row in rows[1:]]

    def texts(row):
        name = (row.task, row.metric)
        bar = " | ".join(probability(value) for value in (row.better, row.equal, row.worse))
        return [
            row.conclusion, f"{shown(*name, row.improvement, True)} ± {shown(*name, row.sd)}",
            interval(*name, row.low, row.high), interval(*name, row.holm_low, row.holm_high),
            interval(*name, row.image_low, row.image_high), probability(row.p), probability(row.p_holm),
            probability(row.probability_of_improvement), bar, str(row.n), shown(*name, row.detectable),
        ]  # fmt: skip

    families = [rows for _, rows in compared.groupby("family", sort=False)]
    assert any(
        list(family.method) == methods and [texts(row) for row in family.itertuples()] == [row[1:] for row in rows[1:]]
        for family in families
    )


def probability(value):
    if isnan(value):
        return "–"
    if value in (0, 1):
        return f"{value:.0f}"
    return "< 0.001" if value < 0.001 else "> 0.999" if value > 0.999 else f"{value:.3f}"


def check_seeds(csv, label, rows):
    claims = csv["claims"].set_index("text")
    claim = claims.loc[label.removeprefix("Seeds: ")]
    pairs = csv["pairs"][csv["pairs"].claim == claim.id]
    signed = claim.task == "multi_task"

    def change(value):
        if claim.task == "cost":
            return f"{value:+z.{PER_CENT.digits}f}".replace("-", "−")
        return shown(claim.task, claim.metric, value, True)

    unit = display(claim.task, claim.metric).unit
    points = "%" if claim.task == "cost" else "points" if unit == "%" else unit
    assert rows[0][1:] == [
        f"{word} {unit}" for word, unit in (("Claimed better", unit), ("Compared with", unit), ("Improvement", points))
    ]
    assert [row[:4] for row in rows[1:]] == [
        [
            str(pair.seed), shown(claim.task, claim.metric, pair.method_value, signed),
            shown(claim.task, claim.metric, pair.reference_value, signed), change(pair.improvement),
        ]
        for pair in pairs.itertuples()
    ]  # fmt: skip


def check_provenance(csv, rows):
    found = csv["provenance"]
    assert len(rows) - 1 == len(found)
    for row, own in zip(rows[1:], found.itertuples(), strict=True):
        assert row[1] == str(own.seed)
        assert row[4:6] == [
            f"{own.train_key:>016}" if isinstance(own.train_key, str) else f"{own.train_key:016d}",
            own.eval_key,
        ]
        assert row[10] == f"{own.train_seconds:.0f}"


def test_every_table_of_the_page_equals_its_csv(read):
    """No table of the page goes unread: one that this test does not know is an error."""
    html, _, csv = read
    checked = 0
    for section, label, rows in Tables(html).found:
        match section:
            case "verdicts":
                check_seeds(csv, label, rows)
            case "comparison" | "ablation" | "coherence":
                checked += check_results(csv, label, rows)
            case "statistics":
                check_family(csv, rows)
            case "provenance":
                check_provenance(csv, rows)
            case "paper":
                pass  # tests/unit/report/test_paper_tables.py
            case _:
                raise AssertionError(f"a table in section {section} ({label}) that no test reads back")
    assert checked > 200


def test_every_verdict_equals_its_row_in_the_page_and_in_latex(read):
    html, (tex, _), csv = read
    text = unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)))
    source = tex.read_text()
    judged = csv["claims"][csv["claims"].n > 0]
    assert len(judged) > 3
    for row in judged.itertuples():
        cost = row.task == "cost"
        number = (
            f"{row.improvement:+.1f}".replace("-", "−") if cost else shown(row.task, row.metric, row.improvement, True)
        )
        assert f"{row.text} " in text
        unit = "points" if row.unit == "%" and not cost else row.unit
        assert f"{number} {unit}" in text, (row.id, number)
        assert number.replace("−", "$-$") in source
        if not cost:
            between = interval(row.task, row.metric, row.holm_low, row.holm_high)
            assert between in text
            assert between.replace("−", "$-$") in source


def test_every_number_of_the_latex_comparison_equals_its_csv(read):
    _, (tex, _), csv = read
    for name, label in (("comparison", "Comparison of all methods"), ("ablation", "Ablation")):
        block = tex.read_text().split(f"% --- {name} ---")[1].split(r"\bottomrule")[0].split(r"\midrule")[1]
        columns = [*PRIMARY.items(), ("multi_task", "delta_m"), *(COSTS if name == "comparison" else [])]
        rows = [line for line in block.splitlines() if " & " in line]
        assert len(rows) >= 2
        for line in rows:
            head, *cells = line.removesuffix(r" \\").split(" & ")
            method = clean(head.replace(r"$^\dagger$", "").replace(r"$^\ddagger$", ""))
            if name == "ablation":
                change = cells.pop().replace("$-$", "−").replace("--", "–")
                assert change == change_of(csv, method)[0], (label, head)
            expected = result_cells(csv, "last", "final", method, columns)
            for cell, wanted, (task, _) in zip(cells, expected, columns, strict=True):
                plain = re.sub(r"\\(?:textbf|underline)\{([^}]*)\}", r"\1", cell.replace("$-$", "−"))
                plain = re.sub(r"\\sd\{([^}]*)\}", r" ± \1", plain).replace("--", "–")
                wanted = wanted[0] if isinstance(wanted, tuple) else re.sub(r" \[.*", "", wanted)
                wanted = wanted.split(" ± ")[0] if task == "cost" else wanted  # no room for it in print
                plain = plain if "±" in wanted else plain.split(" ± ")[0]  # the page shows an interval there
                assert plain == wanted, (label, head, cell)
