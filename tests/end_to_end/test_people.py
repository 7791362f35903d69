"""`people` through the whole pipeline: PASCAL's heads, losses, metrics and augmentation."""

import csv
import json
import math

import pytest

pytestmark = pytest.mark.slow

#: The primary metric of every task.
PRIMARY = {"semseg": "miou", "human_parts": "miou", "sal": "max_miou", "normals": "mean", "edge": "ods_f"}


def test_people_trains_all_five_tasks_and_leaves_a_report(project) -> None:
    project.edit("params.yaml", benchmarks=["people"], methods=["trivial_prior", "single_task", "mtcp"], seeds=[0])
    project.edit(
        "config/benchmarks/people.yaml",
        rendered__train=32,
        rendered__test=8,
        channels=8,
        encoder={"kind": "timm", "model": "resnet10t", "args": {"channels": [8, 8, 16, 16], "stem_width": 8}},
        training__epochs=3,
        training__batch_size=4,
        validation_share=0.2,
    )
    (project.path / "data/people.lock.json").unlink(missing_ok=True)
    done = project.snakemake()
    assert done.returncode == 0, done.stderr[-3000:]

    run = next((project.path / "results/runs/people/mtcp").glob("*/run.json"))
    assert json.loads(run.read_text())["config"]["augmentation"]["policy"] == "pascal"
    first, *_, last = csv.DictReader((run.parent / "history.csv").open())
    for row in (first, last):
        assert all(float(row[f"loss_{task}"]) > 0 for task in PRIMARY)
    for task in ("semseg", "human_parts", "normals"):
        assert float(last[f"loss_{task}"]) < float(first[f"loss_{task}"]), f"{task} did not learn"

    with (project.path / "results/tables/people/summary.csv").open() as table:
        means = {
            (row["method"], row["task"], row["metric"]): float(row["mean"])
            for row in csv.DictReader(table)
            if row["selection"] == "last" and row["output"] == "final" and row["mean"]
        }
    for method in ("trivial_prior", "single_task", "mtcp"):
        assert all(math.isfinite(means[method, task, metric]) for task, metric in PRIMARY.items())
    assert 0 < means["mtcp", "human_parts", "miou"] < 1
    assert 0 < means["mtcp", "normals", "mean"] < 90

    report = (project.path / "reports/people.html").read_text()
    for label in ("Human parts", "Saliency", "Edges"):
        assert label in report
    assert "image/webp" in report, "predictions of rendered scenes are in the report"
    assert project.mtcp("verify").returncode == 0
