"""Our numbers beside published ones: protocols, ranks, what dominates, the spread between papers."""

from pathlib import Path

import pandas as pd
import pytest

from mtcp.analysis.literature import DATASETS, OURS, PROTOCOL, literature, read_protocols, scheme_of, spread
from mtcp.analysis.tables import RUN_COLUMNS, to_csv
from mtcp.core.errors import UserError
from mtcp.core.files import write_text
from mtcp.core.project import Project
from mtcp.metrics.literature import AVERAGED, BASES

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with the project's configuration and published tables, to put runs into."""
    for name in ("config", "results/published_weighting.csv", "results/published_protocols.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def write_runs(root: Path, benchmark: str, methods: dict[str, float]) -> None:
    """Tables of two seeds whose metrics are the fixed base, scaled by (1 + factor) where lower is better."""
    rows = []
    for method, factor in methods.items():
        for seed in (0, 1):
            head = {"benchmark": benchmark, "method": method, "seed": seed, "status": "finished"}
            final = {"selection": "last_epochs_mean", "output": "final"}
            for task, metrics in BASES["NYUv2-13"].items():
                for metric, value in metrics.items():
                    worse = metric in ("abs_error", "rel_error", "mean", "median")
                    rows.append(
                        {**head, **final, "task": task, "metric": metric, "value": value * (1 + factor * worse)}
                    )
                    if metric in AVERAGED.get(task, ()):
                        rows.append({**rows[-1], "metric": f"{metric}_batches", "value": 1.1 * rows[-1]["value"]})
    folder = root / f"results/tables/{benchmark}"
    write_text(folder / "runs.csv", to_csv(pd.DataFrame(rows, columns=RUN_COLUMNS)))
    times = [(method, "seconds_per_step", 0.5 * (1 + factor)) for method, factor in methods.items()]
    write_text(folder / "summary.csv", to_csv(pd.DataFrame(times, columns=["method", "metric", "mean"])))


def test_every_published_row_has_a_protocol_and_is_ranked_among_its_own_alone(study):
    for benchmark, rows in (("nyuv2_13", 225 + 9), ("cityscapes_7", 81)):
        table = literature(Project(study), benchmark)
        assert len(table) == rows
        assert set(table.origin) == {"published"}
        for _, group in table.dropna(subset=["rank"]).groupby(list(PROTOCOL), dropna=False):
            assert len(group) > 1
            assert group.sort_values("rank").delta_m_fixed_base.is_monotonic_increasing
            assert group["rank"].min() == 1
        family_c = table[table.network.str.startswith("PSPNet")]
        assert family_c["rank"].isna().all()  # its batch is not said


def test_ours_stand_beside_published_rows_with_their_own_protocol(study):
    write_runs(study, "nyuv2_13", {"segnet_equal": 0.0, "segnet_mgda": 0.1, "segnet_fixed_411": -0.1})
    table = literature(Project(study), "nyuv2_13", "mgda")
    ours = table[table.origin == "ours"].set_index("averaging")
    assert len(table) > 5 and set(ours.index) == {"batches", "pooled"}
    assert ours.loc["pooled", "mIoU"] == pytest.approx(38.30)
    assert ours.loc["pooled", "AbsErr"] == pytest.approx(0.6754 * 1.1)
    assert ours.loc["batches", "AbsErr"] == pytest.approx(0.6754 * 1.1 * 1.1)
    assert ours.loc["batches", "mIoU"] == pytest.approx(38.30)  # from one confusion matrix in both
    assert ours.loc["pooled", "delta_m_fixed_base"] == pytest.approx(10 * 4 / 9)
    assert ours.loc["pooled", "selection"] == "mean of the last 10 epochs on test, trained on 80 %"
    assert ours.loc["pooled", "shared"] == "all_but_heads"
    assert ours.loc["pooled", "images_per_second"] == pytest.approx(2 / 0.55)
    assert ours.loc["pooled", "epochs_at_equal_time"] == pytest.approx(200 / 1.1)
    assert ours.loc["pooled", "dominated_by"] == "segnet_equal, segnet_fixed_411"
    assert ours.seeds.tolist() == [2, 2]
    assert ours["rank"].isna().all()  # alone under its protocol: 80 % of the training images
    assert set(table[table.origin == "published"].selection) == {
        "mean of the last 10 epochs on test", "epoch not said", "not said"
    }  # fmt: skip


def test_a_seed_without_a_value_is_not_counted_and_a_metric_of_fewer_seeds_is_left_out(study):
    write_runs(study, "nyuv2_13", {"segnet_equal": 0.0})
    path = study / "results/tables/nyuv2_13/runs.csv"
    runs = pd.read_csv(path)
    runs.loc[(runs.seed == 1) & (runs.metric == "miou"), "value"] = float("nan")
    write_text(path, to_csv(runs))
    ours = literature(Project(study), "nyuv2_13", "equal").query("origin == 'ours' and averaging == 'pooled'").iloc[0]
    assert ours.seeds == 2 and pd.isna(ours.mIoU) and not pd.isna(ours.AbsErr)
    runs.loc[runs.seed == 1, "value"] = float("nan")
    write_text(path, to_csv(runs))
    ours = literature(Project(study), "nyuv2_13", "equal").query("origin == 'ours' and averaging == 'pooled'").iloc[0]
    assert ours.seeds == 1 and not pd.isna(ours.mIoU)


def test_a_derived_set_stands_beside_no_published_number(study):
    project = Project(study)
    assert project.data_name("nyuv2_13_lite") not in DATASETS
    assert literature(project, "nyuv2_13_lite").empty
    write_runs(study, "nyuv2_13_lite", {"segnet_equal": 0.0})
    table = literature(project, "nyuv2_13_lite")
    assert set(table.origin) == {"ours"}
    assert table.delta_m_fixed_base.isna().all()
    with pytest.raises(UserError, match="no row of scheme 'mgda' for nyuv2_13_lite: there are equal"):
        literature(project, "nyuv2_13_lite", "mgda")


@pytest.mark.parametrize(
    ("method", "scheme"),
    [
        ("LS (EW)", "equal"), ("LS (EW, MTAN)", "equal"), ("STL", "single_task"), ("UW", "uncertainty"),
        ("CAGrad (c=0.4)", "cagrad"), ("Nash-MTL", "nash_mtl"), ("SI", "scale_invariant"), ("UW + PCGrad", "uw_pcgrad"),
        ("Aligned-MTL-UB", "aligned_mtl_ub"), ("MGDA + SAM", "mgda_sam"),
    ],
)  # fmt: skip
def test_schemes_are_named_as_here(method, scheme):
    assert scheme_of(method) == scheme


def test_papers_differ_on_one_scheme_as_much_as_schemes_do(study):
    table = spread(Project(study))
    segnet = table[(table.dataset == "NYUv2-13") & (table.network == "SegNet-MTAN") & (table.metric == "mIoU")]
    ends = segnet.set_index("scheme")[["least", "greatest"]]
    assert ends.loc["mgda"].round(2).tolist() == [28.40, 30.47]
    assert ends.loc["gradnorm"].round(2).tolist() == [20.09, 40.12]
    assert (table.papers > 1).all()
    assert set(table.metric) == set(OURS)


def test_protocols_are_refused_where_malformed(tmp_path):
    (tmp_path / "protocols.csv").write_text("dataset,network\nNYUv2-13,SegNet\n")
    with pytest.raises(UserError, match="line 1: the columns must be dataset, backbone"):
        read_protocols(tmp_path / "protocols.csv")
    with pytest.raises(UserError, match="is missing"):
        read_protocols(tmp_path / "none.csv")
