"""Differences by task, class, image and seed, against numbers worked out by hand from the same runs."""

import numpy as np
import pandas as pd
import pytest
from made_up_statistics import write_statistics

from mtcp.analysis.breakdown import class_differences, image_changes, task_changes
from mtcp.analysis.tables import build_tables

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(small):
    """Two methods, two seeds; `mtcp` errs less on every image, by its seed's own amount."""
    found = [run for run in small.plan.runs if run.method in ("mtcp", "single_task")]
    for run in found:
        write_statistics(run, shift=0.05 + 0.01 * run.seed if run.method == "mtcp" else 0.0)
    return found


def by_class(store, runs):
    methods = {run.method: store.plan.project.method(run.method) for run in runs}
    return class_differences(runs, store.plan.project.benchmark("rooms"), methods)


def by_image(store, runs):
    return image_changes(runs, store.plan.project.benchmark("rooms"))


def changed(run, name, index, value):
    """Overwrite a part of the run's stored statistics."""
    arrays = dict(np.load(run.images_path))
    arrays[f"final/semseg/{name}"][index] = value
    np.savez(run.images_path, **arrays)


def test_changes_by_task_average_to_delta_m(small):
    tables = build_tables(small.plan, "rooms")
    changes, runs = tables["changes"], tables["runs"]
    own = changes[changes.method == "mtcp"].set_index("task")
    assert list(own.index) == ["semseg", "depth", "normals", "edge", "multi_task"]
    assert own["mean"].drop("multi_task").mean() == pytest.approx(own["mean"]["multi_task"])
    depth = runs[
        (runs.metric == "rmse") & (runs.task == "depth") & (runs.selection == "last") & (runs.output == "final")
    ]
    ours, base = (depth[depth.method == name].sort_values("seed").value.to_numpy() for name in ("mtcp", "single_task"))
    by_hand = 100 * (base - ours) / base
    assert own["mean"].depth == pytest.approx(by_hand.mean())
    assert own.sd.depth == pytest.approx(by_hand.std(ddof=1))
    assert "trivial_prior" not in set(changes.method)
    assert (changes[changes.method == "single_task"]["mean"] == 0).all()


def test_a_seed_on_which_the_baseline_scores_zero_has_no_relative_change(small):
    runs = build_tables(small.plan, "rooms")["runs"]
    zero = (runs.method == "single_task") & (runs.seed == 1) & (runs.metric == "miou")
    runs.loc[zero, "value"] = 0.0
    project = small.plan.project
    changes = task_changes(runs, project.benchmark("rooms"), {"mtcp": project.method("mtcp")}).set_index("task")
    assert changes.n.to_dict() == {"semseg": 1, "depth": 2, "normals": 2, "edge": 2}
    assert np.isfinite(changes["mean"]).all()


def test_classes_are_pooled_over_images_and_compared_seed_by_seed(small, runs):
    classes = by_class(small, runs)
    row = classes[(classes.method == "mtcp") & (classes.number == 3)].iloc[0]
    found = {}
    for method in ("mtcp", "single_task"):
        for seed in (0, 1):
            arrays = np.load(small.plan.run("rooms", method, seed).images_path)
            tp, fp, fn = (arrays[f"final/semseg/{name}"][:, 3].sum(dtype=np.int64) for name in ("tp", "fp", "fn"))
            found[method, seed] = tp / (tp + fp + fn)
    differences = np.array([found["mtcp", seed] - found["single_task", seed] for seed in (0, 1)])
    assert row.n == 2
    assert row.improvement == pytest.approx(differences.mean())
    assert row.sd == pytest.approx(differences.std(ddof=1))
    assert row.low < row.improvement < row.high
    assert row.iou == pytest.approx(np.mean([found["mtcp", 0], found["mtcp", 1]]))
    assert row["name"] == "class 3"  # made-up data name no classes


def test_a_class_that_occurs_nowhere_has_no_row(small, runs):
    for run in runs:
        for name in ("tp", "fp", "fn"):
            changed(run, name, (slice(None), 5), 0)
    assert set(by_class(small, runs).number) == set(range(13)) - {5}


def test_the_best_the_median_and_the_worst_image_are_those_of_delta_m_alone(small, runs):
    images = by_image(small, runs)
    assert (len(images), set(images.n)) == (40, {2})
    order = images.sort_values("delta_m", ascending=False).image.tolist()
    places = images.dropna(subset=["place"]).set_index("place").image
    assert (places["best"], places["median"], places["worst"]) == (order[0], order[20], order[-1])
    assert (images.least <= images.delta_m).all()
    assert (images.delta_m <= images.greatest).all()


def test_an_image_without_delta_m_has_no_place(small, runs):
    for run in runs:
        changed(run, "tp", 7, 0)  # an mIoU of zero has no relative change
    images = by_image(small, runs).set_index("image")
    assert images.n["image7"] == 0
    assert pd.isna(images.place["image7"])


def test_ranks_say_who_one_seed_alone_would_have_picked(done):
    tables = build_tables(done.plan, "rooms")
    ranks, change = tables["ranks"], tables["multi_task"]
    assert "trivial_prior" not in set(ranks.method)
    for seed, own in ranks.groupby("seed"):
        assert sorted(own["rank"]) == [1, 2, 3, 4, 5, 6]
        values = change[
            (change.seed == seed) & (change.metric == "delta_m") & (change.output == "final")
            & (change.selection == "last") & (change.method != "trivial_prior")
        ].set_index("method").value  # fmt: skip
        assert own.set_index("method")["rank"].idxmin() == values.idxmax()
    wins = tables["methods"].set_index("method").wins
    assert wins.to_dict() == {name: int(((ranks.method == name) & (ranks["rank"] == 1)).sum()) for name in wins.index}


def test_tables_without_the_baseline_or_any_number_are_empty_not_wrong(store):
    tables = build_tables(store.plan, "rooms", partial=True)
    assert all(tables[name].empty for name in ("changes", "classes", "images", "ranks"))
