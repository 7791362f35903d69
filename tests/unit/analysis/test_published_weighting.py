"""The published numbers of the loss-weighting literature: refused where malformed, and their Deltas computed again."""

from pathlib import Path

import pytest
from printed_deltas import recompute

from mtcp.analysis.published_weighting import SEGNET, read_printed, rows_of
from mtcp.core.errors import UserError
from mtcp.core.project_files import PUBLISHED_WEIGHTING
from mtcp.metrics.literature import BASES, delta_m_fixed_base

HEAD = "dataset,task,metric,method,backbone,value,source\n"
GOOD = "NYUv2-13,semseg,mIoU,EW,SegNet-MTAN,39.29,A paper Table 1\n"
#: Lines whose printed Delta is not what the row's numbers give, and what they give.
OUTSIDE = {
    160: -1.79, 299: -0.60, 375: 5.76, 376: 0.49, 889: -0.46, 919: -0.28, 944: -0.41, 954: -2.64, 964: -1.14,
    974: -0.35, 979: -0.26, 984: 0.12, 1338: 18.12, 1403: 0.68,
}  # fmt: skip


@pytest.fixture(scope="module")
def published():
    return read_printed(Path(__file__).resolve().parents[3] / PUBLISHED_WEIGHTING)


def test_the_file_holds_what_its_page_says(published):
    assert len(published) == 2874
    assert len(rows_of(published)) == 349


def test_263_of_277_printed_deltas_agree_within_rounding(published):
    found = recompute(published)
    outside = {one.printed.line: round(one.value, 2) for one in found if not one.agrees}
    assert len(found) == 277
    assert outside == OUTSIDE


def test_the_fixed_base_is_the_single_task_row_of_cagrad(published):
    names = {
        "mIoU": ("miou", 100), "PixAcc": ("pixel_accuracy", 100),
        "AbsErr": ("abs_error", 1), "RelErr": ("rel_error", 1),
        "mean": ("mean", 1), "median": ("median", 1), "within_11.25": ("within_11_25", 1),
        "within_22.5": ("within_22_5", 1), "within_30": ("within_30", 1),
    }  # fmt: skip
    single = {
        key[0]: row for key, row in rows_of(published).items() if key[1:3] == (SEGNET, "STL") and "CAGrad" in key[3]
    }
    for dataset, row in single.items():
        values: dict[str, dict[str, float]] = {}
        for (task, metric), one in row.items():
            name, scale = names[metric]
            values.setdefault(task, {})[name] = one.value / scale
        assert {task: {n: pytest.approx(v) for n, v in found.items()} for task, found in values.items()} == BASES[
            dataset
        ]
        assert delta_m_fixed_base(values, dataset) == pytest.approx(0, abs=1e-9)
    assert set(single) == set(BASES)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (GOOD.replace("39.29", "39,29"), "line 2: 8 values"),
        (GOOD.replace("39.29", "n/a"), "'n/a' is not a number"),
        (GOOD.replace("39.29", "nan"), "'nan' is not a number"),
        (GOOD.replace("39.29", "3.9e1"), "'3.9e1' is not a number"),
        (GOOD.replace("A paper Table 1", ""), "source missing: every number needs"),
        (GOOD.replace("mIoU", "miou"), "metric 'miou' of task 'semseg' is unknown"),
        (GOOD.replace("semseg", "depth"), "metric 'mIoU' of task 'depth' is unknown"),
        (GOOD + GOOD, "line 3: line 2 has this number already"),
        (GOOD.removesuffix(",A paper Table 1\n") + "\n", "line 2: 6 values"),
        (GOOD.replace("EW", '"EW'), "close every quote"),
    ],
)
def test_malformed_rows_are_refused_by_line(tmp_path, line, words):
    path = tmp_path / "published.csv"
    path.write_text(HEAD + line)
    with pytest.raises(UserError, match=words):
        read_printed(path)


def test_other_columns_and_a_missing_file_are_refused(tmp_path):
    path = tmp_path / "published.csv"
    with pytest.raises(UserError, match="is missing"):
        read_printed(path)
    path.write_text("dataset,value\n")
    with pytest.raises(UserError, match="line 1: the columns must be dataset, task"):
        read_printed(path)
