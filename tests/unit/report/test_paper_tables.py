"""Tables for papers: every number parsed back from LaTeX and HTML equals its cell in paper.csv; they fit the page."""

import re
import shutil
import subprocess

import pandas as pd
import pytest

from mtcp.analysis.comparisons import MULTI_TASK
from mtcp.analysis.paper_tables import equal_cost_members, members, paper_tables
from mtcp.analysis.tables import build_tables, summarise
from mtcp.core.project import Project
from mtcp.report.formats import display
from mtcp.report.paper_tables import paper_view
from mtcp.report.render import write_report

pytestmark = pytest.mark.slow

NUMBER = r"[+−-]?[\d,]+(?:\.\d+)?"


def cells_of(paper, table):
    """What each cell of a table must show, from paper.csv alone: {label: [(mean, sd)]}."""
    found = {}
    for row in paper[paper.table == table].itertuples():
        shown = display(row.task, row.metric)
        mean = float(f"{row.mean * shown.scale:.{shown.digits}f}")
        spread = "" if row.task == "cost" or not row.sd > 0 else f"{row.sd * shown.scale:.{shown.digits}f}"
        if table == "ablation":
            spread = ""
            if row.task == "cost":
                continue
        found.setdefault(row.label, []).append((mean, float(spread) if spread else None))
    return found


def parsed(cell):
    numbers = [float(text.replace("−", "-").replace(",", "")) for text in re.findall(NUMBER, cell)]
    return numbers[0], numbers[1] if len(numbers) > 1 else None


def test_every_number_in_latex_and_html_equals_its_csv_cell(tabled):
    html, _, latex = write_report(tabled.root, "rooms")
    paper = pd.read_csv(tabled.root / "results/tables/rooms/paper.csv")
    assert set(paper.table) == {"main", "weighting", "ablation"}
    page = html.read_text()
    section = page[page.index('<section id="paper">') : page.index('<section id="ledger">')]
    for table in set(paper.table):
        expected = cells_of(paper, table)
        source = latex.read_text().split(f"% --- {table} ---")[1].split(r"\end{table*}")[0]
        body = source.split(r"\midrule")[1].split(r"\bottomrule")[0]
        rows = [line.removesuffix(r" \\").split(" & ") for line in body.strip().splitlines()]
        assert {row[0]: [parsed(cell) for cell in row[-len(expected[row[0]]) :]] for row in rows} == expected
        block = next(part for part in section.split("<details")[1:] if f"<summary>{table.capitalize()}<" in part)
        shown = {}
        for row in re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', block):
            cells = re.findall(r"<td data-mean[^>]*>(.*?)</td>", row[1])
            shown[row[0]] = [parsed(re.sub("<.*?>", "", cell)) for cell in cells]
        assert shown == expected


def test_numbers_of_a_thousand_and_more_are_numbers_to_latex(tabled):
    settings = Project(tabled.root).benchmark("rooms")
    row = {"benchmark": "rooms", "table": "encoder", "method": "mtcp", "label": "MT-CP", "parts": "", "kappa": None}
    rows = [
        {**row, "task": "cost", "metric": metric, "n": n, "mean": mean, "sd": 0.0, "best": False}
        for metric, mean, n in (("gflops", 1234.567, 8), ("seconds_per_image", 1.2345, 3))
    ]
    rows.append({**row, "task": "depth", "metric": "rmse", "n": 8, "mean": 1234.5, "sd": 1000.25, "best": True})
    (view,) = paper_view(pd.DataFrame(rows), "rooms", settings, "single task")
    cells = view["rows"][0]["cells"]
    assert [cell["mean"] for cell in cells] == ["1234.567", "1234.5", "1234.5000"] and cells[2]["sd"] == "1000.2500"
    assert "over n = 8 seeds" in view["caption"], "rounds of a cost are no seeds"


def test_bold_is_the_best_and_what_the_test_cannot_tell_from_it(tabled):
    paper = pd.read_csv(tabled.root / "results/tables/rooms/paper.csv")
    assert not paper.best.any(), "four seeds cannot tell any two apart"
    view = paper_view(paper, "rooms", Project(tabled.root).benchmark("rooms"), "single task")
    assert all("Nothing is bold" in table["caption"] for table in view)

    project, tables = Project(tabled.root), build_tables(tabled.plan, "rooms")
    table = pd.concat([tables["runs"], tables["multi_task"].assign(task=MULTI_TASK)])
    doubled = pd.concat([table, table.assign(seed=table.seed + 4)], ignore_index=True)
    methods = {name: project.method(name) for name in dict.fromkeys(table.method)}
    settings = project.benchmark("rooms")
    paper = paper_tables(doubled, summarise(doubled, settings, methods), settings, methods)
    depth = paper[(paper.table == "main") & (paper.metric == "rmse")].set_index("method")
    assert depth.best[depth["mean"].idxmin()] and not depth.best[depth["mean"].idxmax()]
    assert not paper[paper.task == "cost"].best.any()


def test_a_table_holds_the_methods_it_is_about(root):
    project = Project(root)
    methods = {name: project.method(name) for name in project.grids["ablations"].methods}
    found = members(project.benchmark("rooms"), methods)
    assert found["main"] == ["single_task", "mtl_baseline", "mtcp", "mtcp_as_released", "mtcp_lps_clipped"]
    assert {"uncertainty", "dwa", "mtcp_equal", "mtcp"} <= set(found["weighting"])
    assert found["kappa"] == ["mtcp", "mtcp_kappa_7_5"]
    assert found["ablation"][0] == "mtcp"


def test_rows_at_equal_cost_are_those_within_five_per_cent_of_the_references_gflops(root):
    project = Project(root)
    methods = {name: project.method(name) for name in project.grids["architectures"].methods}
    benchmark = project.benchmark("architectures")
    gflops = dict.fromkeys(methods, 3.0) | {
        name: 1.0 + 0.009 * place
        for place, name in enumerate(name for name in methods if name.endswith("_equal") or name == "mti_net_small")
    }
    gflops |= {"mtcp": 1.0, "mtcp_equal": 1.0, "pad_net_equal": 1.2}
    summary = pd.DataFrame(
        [{"method": name, "task": "cost", "metric": "gflops", "mean": value} for name, value in gflops.items()]
    )
    found = equal_cost_members(summary, benchmark, methods)
    assert found["gflops"] == [
        "mtcp", "mti_net_small", "mtl_baseline_light_equal", "atrc_equal", "invpt_equal", "mtmamba_equal"
    ]  # fmt: skip
    assert {"mtcp", "single_task_light", "pad_net_small", "mti_net_small", "invpt_small"} <= set(found["encoder"])
    assert not {"mtcp_equal", "pad_net_equal", "invpt_equal"} & set(found["encoder"])
    assert equal_cost_members(summary[summary.method == "mtcp"], benchmark, methods) == {}


def test_ticks_say_which_parts_a_row_has(tabled):
    paper = pd.read_csv(tabled.root / "results/tables/rooms/paper.csv")
    parts = paper[paper.table == "ablation"].drop_duplicates("method").set_index("method").parts
    assert parts.mtcp == "CFM;trace;aux;LPS;log"
    assert parts.mtcp_no_cfm == "trace;aux;LPS;log"
    assert parts.mtcp_equal == "CFM;trace;aux"


@pytest.mark.latex
def test_the_tables_fit_a_two_column_paper(tabled, tmp_path):
    if subprocess.run(["kpsewhich", "siunitx.sty"], capture_output=True, check=False).returncode:
        pytest.skip("siunitx is not installed")
    latex = write_report(tabled.root, "rooms")[2]
    shutil.copy(latex, tmp_path / "tables.tex")
    setup = re.search(r"\\sisetup\{.*?\}", latex.read_text().replace("\n% ", ""), re.DOTALL).group()
    (tmp_path / "paper.tex").write_text(
        r"\documentclass[10pt,twocolumn,letterpaper]{article}"
        r"\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}\usepackage{amsmath,amssymb,booktabs,graphicx,siunitx}"
        r"\usepackage[letterpaper,textwidth=6.875in,columnsep=0.3125in,textheight=8.875in]{geometry}"
        rf"{setup}\begin{{document}}\input{{tables.tex}}\end{{document}}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
