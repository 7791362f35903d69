"""Evaluation: sizes, outputs, selections, files, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mtcp.core.errors import UserError
from mtcp.core.project import Project
from mtcp.core.run_config import EvaluationConfig, RunConfig, TaskConfig
from mtcp.core.tasks import VOID, make_task
from mtcp.data.loading.batches import Batch, evaluation_batches, open_split
from mtcp.evaluation.evaluate import (
    Evaluated,
    EvaluationResult,
    best_on_test,
    evaluate,
    evaluate_elsewhere,
    evaluate_networks,
    mean_metrics,
    write_statistics,
)
from mtcp.metrics.coherence import coherence_metrics
from mtcp.metrics.meter import Meter
from mtcp.metrics.meters import meter
from mtcp.metrics.recompute import metrics_from_statistics, read_statistics
from mtcp.models.architecture import Architecture, build_network
from mtcp.models.checkpoints import save_network

TASKS = (make_task("semseg", classes=3), make_task("depth"), make_task("sal"))
CONFIG = EvaluationConfig()
METERS = {task.name: meter(task, CONFIG) for task in TASKS}


class Fixed(Architecture):
    """Predicts from the image's mean alone: depth is that mean, in the final output, and doubled in the auxiliary."""

    def __init__(self, broken: bool = False) -> None:
        super().__init__()
        self.broken = broken

    def encode(self, image: Tensor) -> Tensor:
        return image.mean(dim=(1, 2, 3), keepdim=True)

    def decode(self, representation: Tensor, size: tuple[int, int]) -> dict[str, dict[str, Tensor]]:
        plane = representation.expand(-1, 1, *size)
        depth = torch.full_like(plane, torch.nan) if self.broken else plane
        classes = torch.cat([plane, plane + 1, plane - 1], dim=1)
        return {
            "semseg": {"final": classes},
            "depth": {"final": depth, "aux1": 2 * plane},
            "sal": {"final": plane},
        }


def batch(
    ids: tuple[str, ...], value: float, size: tuple[int, int] = (12, 16), shown: tuple[int, int] = (6, 8)
) -> Batch:
    """Images of one value at the network's size `shown`, truths at the original `size`."""
    count = len(ids)
    targets = {
        "semseg": torch.ones(count, *size, dtype=torch.long),
        "depth": torch.full((count, 1, *size), 2.0),
        "sal": torch.zeros(count, 1, *size),
    }
    return Batch(ids, torch.full((count, 3, *shown), value), targets)


def test_every_image_counts_once_at_its_own_original_size_and_all_outputs_are_judged():
    told: list[int] = []
    batches = [batch(("a", "b"), 2.0), batch(("c",), 3.0, size=(9, 7))]
    result = evaluate(Fixed(), METERS, batches, "cpu", on_images=told.append)
    assert result.ids == ("a", "b", "c")
    assert told == [2, 1]
    assert set(result.statistics) == {"final", "aux1"}
    assert result.statistics["final"]["depth"]["pixels"].tolist() == [192, 192, 63]
    metrics = result.metrics(METERS)
    assert metrics["final"]["semseg"]["pixel_accuracy"] == 1.0
    assert metrics["final"]["depth"]["rmse"] == pytest.approx(np.sqrt(63 / (2 * 192 + 63)))
    assert metrics["aux1"]["depth"]["rmse"] == pytest.approx(np.sqrt((2 * 192 * 4 + 63 * 16) / (2 * 192 + 63)))
    assert set(metrics["aux1"]) == {"depth"}
    assert result.seconds_per_image > 0


def test_outputs_can_be_chosen():
    result = evaluate(Fixed(), METERS, [batch(("a",), 2.0)], "cpu", outputs=lambda name: name == "final")
    assert set(result.statistics) == {"final"}


def test_predictions_are_resized_bilinearly_to_the_truth():
    class Ramp(Fixed):
        def decode(self, representation: Tensor, size: tuple[int, int]) -> dict[str, dict[str, Tensor]]:
            outputs = super().decode(representation, size)
            ramp = torch.arange(size[1], dtype=torch.float32).expand(len(representation), 1, *size)
            return outputs | {"depth": {"final": 1 + ramp}}

    given = batch(("a",), 1.0, size=(4, 8), shown=(2, 4))
    # Pixel centres of the fine map lie a quarter of a coarse pixel beside those of the coarse one; ends are held.
    given.targets["depth"][:] = 1 + torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    assert evaluate(Ramp(), METERS, [given], "cpu").metrics(METERS)["final"]["depth"]["rmse"] == pytest.approx(
        0, abs=1e-6
    )


def test_broken_predictions_are_reported_and_their_metrics_are_missing():
    result = evaluate(Fixed(broken=True), METERS, [batch(("a",), 2.0)], "cpu")
    assert result.non_finite() == {"semseg": 0, "depth": 192, "sal": 0}
    assert result.metrics(METERS)["final"]["depth"]["rmse"] is None


def test_a_truth_out_of_range_is_named_by_its_image():
    given = batch(("a", "b"), 2.0)
    given.targets["semseg"][1, 3, 3] = 7
    with pytest.raises(UserError, match="image 'b': task 'semseg': label 7 in the truth"):
        evaluate(Fixed(), METERS, [given], "cpu")


def test_no_image_is_refused():
    with pytest.raises(UserError, match="no image to evaluate"):
        evaluate(Fixed(), METERS, [], "cpu")


def test_all_void_gives_missing_metrics_and_no_failure():
    given = batch(("a",), 2.0)
    for target in given.targets.values():
        target[:] = VOID
    metrics = evaluate(Fixed(), METERS, [given], "cpu").metrics(METERS)
    assert all(value is None for values in metrics["final"].values() for value in values.values())


def test_metrics_of_any_subset_come_from_the_stored_statistics(tmp_path: Path):
    batches = [batch(("a", "b"), 2.0), batch(("c",), 3.0, size=(9, 7))]
    result = evaluate(Fixed(), METERS, batches, "cpu")
    write_statistics(tmp_path / "images.npz", result)
    ids, statistics = read_statistics(tmp_path / "images.npz")
    assert ids == ("a", "b", "c")
    assert metrics_from_statistics(statistics, TASKS, CONFIG) == result.metrics(METERS)["final"]
    only = metrics_from_statistics(statistics, TASKS, CONFIG, np.array([2]))
    assert only["depth"]["rmse"] == pytest.approx(1.0)
    twice = metrics_from_statistics(statistics, TASKS, CONFIG, np.array([2, 2, 0]))
    assert twice["depth"]["rmse"] == pytest.approx(np.sqrt(2 * 63 / (2 * 63 + 192)))
    assert read_statistics(tmp_path / "images.npz", "aux1")[1].keys() == {"depth"}


def test_missing_and_damaged_statistics_are_named(tmp_path: Path):
    path = tmp_path / "images.npz"
    with pytest.raises(UserError, match=r"images\.npz is missing: evaluate the run again"):
        read_statistics(path)
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(UserError, match=r"images\.npz is damaged"):
        read_statistics(path)
    write_statistics(path, evaluate(Fixed(), METERS, [batch(("a",), 2.0)], "cpu"))
    with pytest.raises(UserError, match="no statistics of output 'initial'"):
        read_statistics(path, "initial")


# --- a run in the store ------------------------------------------------------------------------------------------


def prior(project: Project) -> tuple[RunConfig, Path, Architecture]:
    config = project.resolve("rooms", "trivial_prior", 0)
    data = project.root / "data/rooms"
    network = build_network(config)
    network.fit(evaluation_batches(open_split(config, data, "train"), config))
    return config, data, network


def run(config: RunConfig, data: Path, directory: Path, **options: Any) -> Evaluated:
    return evaluate_networks(config, data=data, directory=directory, device="cpu", **options)


def test_a_run_is_evaluated_into_its_folder(tiny_project: Project, tmp_path: Path):
    config, data, network = prior(tiny_project)
    save_network(network, config, tmp_path / "model.safetensors")
    told: list[tuple[int, int]] = []
    found = run(config, data, tmp_path, on_image=lambda done, total: told.append((done, total)))
    assert told[-3:] in ([(2, 5), (4, 5), (5, 5)], [(7, 10), (9, 10), (10, 10)]), (
        "twice where the ceiling is not known yet"
    )
    assert set(found.metrics) == {"last"}
    final, truth = (found.metrics["last"][output] for output in ("final", "truth"))
    assert set(final) == {"semseg", "depth", "normals", "edge", "coherence"}
    assert set(truth) == {"coherence"}
    # A prior knows nothing of the image: its maps fit each other worse than the truths do.
    assert final["coherence"]["depth_normals_angle"] > truth["coherence"]["depth_normals_angle"]
    write_statistics(tmp_path / "images.npz", found.last)
    ids, statistics = read_statistics(tmp_path / "images.npz")
    assert ids == open_split(config, data, "test").ids
    coherence = coherence_metrics(statistics["coherence"])
    assert metrics_from_statistics(statistics, config.task_list, config.evaluation) | {"coherence": coherence} == final
    sheets = sorted((tmp_path / "samples").glob("*.png"))
    assert [path.name for path in sheets] == [f"{k:02d}-{image_id}.png" for k, image_id in enumerate(ids[:3])]
    assert Image.open(sheets[0]).size[0] > 600


def test_evaluating_twice_leaves_equal_files_and_no_stale_sheet(tiny_project: Project, tmp_path: Path):
    config, data, network = prior(tiny_project)
    save_network(network, config, tmp_path / "model.safetensors")
    first = run(config, data, tmp_path).last
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "samples").iterdir()}
    (tmp_path / "samples/99-old.png").write_bytes(b"")
    second = run(config, data, tmp_path).last
    assert {path.name: path.read_bytes() for path in (tmp_path / "samples").iterdir()} == pictures
    assert_equal(first, second)


@pytest.mark.slow
def test_a_network_is_not_judged_as_another_kind_of_task(tiny_project: Project):
    config = tiny_project.resolve("rooms", "mtcp", 0)
    trained, other = (
        config.model_copy(update={"tasks": {"range": TaskConfig(kind=kind)}}) for kind in ("depth", "sal")
    )
    with pytest.raises(
        UserError, match="predicts 'range' with 1 channels, which is of kind sal, not depth, in benchmark"
    ):
        evaluate_elsewhere(trained, Path("none"), other, Path("none"), "cpu")
    pixels = config.model_copy(update={"tasks": {"range": TaskConfig(kind="depth", unit="px", rope=0.1)}})
    with pytest.raises(UserError, match="which is in px, not m, in benchmark"):
        evaluate_elsewhere(trained, Path("none"), pixels, Path("none"), "cpu")


@pytest.mark.slow
def test_several_processes_give_the_same_statistics(tiny_project: Project, tmp_path: Path):
    config, data, network = prior(tiny_project)
    save_network(network, config, tmp_path / "model.safetensors")
    assert_equal(run(config, data, tmp_path).last, run(config, data, tmp_path, threads=2).last)


def assert_equal(first: EvaluationResult, second: EvaluationResult) -> None:
    for task, statistics in first.statistics["final"].items():
        for name, values in statistics.items():
            assert np.array_equal(values, second.statistics["final"][task][name]), (task, name)


def test_validation_and_snapshots_are_evaluated_where_they_were_kept(tiny_project: Project, tmp_path: Path):
    config, data, network = prior(tiny_project)
    config = config.model_copy(update={"training": config.training.model_copy(update={"epochs": 6, "snapshots": 2})})
    save_network(network, config, tmp_path / "model.safetensors")
    network.depth_prior += 1
    save_network(network, config, tmp_path / "model-validation.safetensors")
    save_network(network, config, tmp_path / "snapshots/epoch-0002.safetensors")
    network.depth_prior -= 1.5  # the best by far, and kept for the mean of the last epochs alone
    save_network(network, config, tmp_path / "snapshots/epoch-0004.safetensors")
    metrics = run(config, data, tmp_path).metrics
    assert set(metrics) == {"last", "validation", "best_on_test"}
    assert metrics["validation"]["final"]["depth"]["rmse"] > metrics["last"]["final"]["depth"]["rmse"]
    kept, last = (metrics[selection]["final"] for selection in ("best_on_test", "last"))
    assert kept == {task: values for task, values in last.items() if task != "coherence"}, "coherence of two alone"
    assert "coherence" in last and "coherence" not in metrics["validation"]["final"]


def test_a_mean_over_fewer_epochs_than_its_name_says_is_refused(tiny_project: Project, tmp_path: Path):
    config, data, network = prior(tiny_project)
    training = config.training.model_copy(update={"epochs": 6, "last_epochs": 3})
    config = config.model_copy(update={"training": training})
    save_network(network, config, tmp_path / "model.safetensors")
    save_network(network, config, tmp_path / "snapshots/epoch-0003.safetensors")
    with pytest.raises(UserError, match=r"epoch-0004.safetensors is missing \(1 of 2 kept networks\)"):
        run(config, data, tmp_path)
    save_network(network, config, tmp_path / "snapshots/epoch-0004.safetensors")
    assert "last_epochs_mean" in run(config, data, tmp_path).metrics


def test_the_last_epoch_is_not_judged_twice_where_it_was_the_best(tiny_project: Project, tmp_path: Path):
    config, data, network = prior(tiny_project)
    for name in ("model", "model-validation"):
        save_network(network, config, tmp_path / f"{name}.safetensors")
    told: list[tuple[int, int]] = []
    run(config, data, tmp_path)  # the ceiling of coherence is known from here on
    metrics = run(config, data, tmp_path, on_image=lambda done, total: told.append((done, total))).metrics
    assert told[-1] == (5, 5)
    assert metrics["validation"]["final"].items() <= metrics["last"]["final"].items()


def test_best_on_test_maximises_the_mean_relative_gain(tiny_project: Project):
    config = tiny_project.resolve("rooms", "trivial_prior", 0)

    def metrics(miou: float, rmse: float | None) -> dict[str, Any]:
        return {
            "final": {
                "semseg": {"miou": miou},
                "depth": {"rmse": rmse},
                "normals": {"mean": 30.0},
                "edge": {"ods_f": 0.5},
            }
        }

    last, better, worse, broken = metrics(0.4, 1.0), metrics(0.42, 1.0), metrics(0.44, 1.2), metrics(0.9, None)
    assert best_on_test(config, last, [worse, better, broken]) == better
    assert best_on_test(config, last, [worse]) == last


def test_a_run_without_a_checkpoint_is_refused(tiny_project: Project, tmp_path: Path):
    config, data, _ = prior(tiny_project)
    with pytest.raises(UserError, match=r"has no finished checkpoint \(model\.safetensors\): train the run first"):
        run(config, data, tmp_path)


def test_a_network_is_judged_on_another_benchmark_with_the_same_tasks(tiny_project: Project, tmp_path: Path):
    config, data, network = prior(tiny_project)
    save_network(network, config, tmp_path / "model.safetensors")
    other = config.model_dump() | {"benchmark": "others", "height": 96, "width": 128}
    fewer = RunConfig(**other | {"evaluation": {"depth_cap": 2.0}})
    result, metrics = evaluate_elsewhere(config, tmp_path / "model.safetensors", fewer, data, "cpu")
    own = run(config, data, tmp_path)
    assert result.ids == own.last.ids
    assert metrics["final"]["depth"]["rmse"] == own.metrics["last"]["final"]["depth"]["rmse"]
    assert (
        result.statistics["final"]["depth"]["pixels_capped"].sum()
        < own.last.statistics["final"]["depth"]["pixels_capped"].sum()
    )
    for tasks, message in (
        ({"depth": {}}, "predicts 'semseg' with 13 channels, which does not exist in benchmark 'others'"),
        (other["tasks"] | {"semseg": {"classes": 40}}, "which has 40 channels in benchmark 'others'"),
    ):
        with pytest.raises(UserError, match=message):
            evaluate_elsewhere(
                config, tmp_path / "model.safetensors", RunConfig(**other | {"tasks": tasks}), data, "cpu"
            )


def test_meters_know_every_task_of_the_configuration(tiny_project: Project):
    config = tiny_project.resolve("rooms", "trivial_prior", 0)
    assert all(isinstance(meter(task, config.evaluation), Meter) for task in config.task_list)


def test_the_mean_over_the_last_epochs_is_of_metrics_and_missing_where_one_is():
    def one(miou: float, rmse: float | None) -> dict:
        return {"final": {"semseg": {"miou": miou}, "depth": {"rmse": rmse}}, "aux1": {}}

    assert mean_metrics([one(0.2, 1.0), one(0.4, 2.0)]) == {
        "final": {"semseg": {"miou": pytest.approx(0.3)}, "depth": {"rmse": 1.5}}
    }
    assert mean_metrics([one(0.2, None), one(0.4, 2.0)])["final"]["depth"]["rmse"] is None


def test_convolutions_are_exact_in_evaluation_whatever_training_may_use(tiny_project: Project, tmp_path: Path):
    config, data, network = prior(tiny_project)
    seen: list[bool] = []
    network.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    split = open_split(config, data, "test")
    meters = {task.name: meter(task, config.evaluation) for task in config.task_list}
    assert torch.backends.cudnn.allow_tf32
    evaluate(network, meters, evaluation_batches(split, config), "cpu")
    assert seen and not any(seen) and torch.backends.cudnn.allow_tf32
