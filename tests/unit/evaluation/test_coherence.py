"""Coherence as evaluation measures it: the truth as its own prediction, void pixels, cameras, people."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from mtcp.core.run_config import TaskConfig
from mtcp.core.tasks import CLASSES, VOID
from mtcp.data.formats.cameras import nyu_camera
from mtcp.data.loading.batches import evaluation_batches, open_split
from mtcp.evaluation.ceiling import ceiling, ceiling_file
from mtcp.evaluation.coherence import CoherenceMeter, coherence_meter
from mtcp.metrics.coherence import coherence_metrics


def as_predictions(targets, channels):
    """Outputs of a network that predicts the truth."""
    found = {}
    for name, target in targets.items():
        if name in CLASSES:
            found[name] = one_hot(target.clamp(max=channels[name] - 1), channels[name]).movedim(-1, 1).float()
        else:
            found[name] = target if name in ("depth", "normals") else 100 * target - 50
    return found


def test_a_network_that_predicts_the_truth_reaches_the_ceiling(tiny_project):
    config = tiny_project.resolve("rooms", "mtcp", 0)
    split = open_split(config, tiny_project.root / "data/rooms", "test")
    batch = next(evaluation_batches(split, config))
    channels = {task.name: task.channels for task in config.task_list}
    meter = coherence_meter(config, split.layout.packaging)
    predictions = as_predictions(batch.targets, channels)
    own, ceiling = map(coherence_metrics, (meter.update(predictions, batch.targets), meter.ceiling(batch.targets)))
    assert own == pytest.approx(ceiling, rel=1e-5)
    assert set(own) == {
        "depth_normals_angle", "depth_normals_angle_near", "depth_boundary_f", "normals_boundary_f", "edge_boundary_f",
    }  # fmt: skip
    # The recorded camera is the one the scenes were rendered with: their planes are found to a few degrees.
    assert own["depth_normals_angle"] < 8
    assert own["depth_normals_angle"] < own["depth_normals_angle_near"]
    assert min(own[name] for name in own if name.endswith("_f")) > 0.6


def test_flat_normals_on_a_slanted_plane_are_off_by_the_slant():
    camera = nyu_camera(48, 64)
    v = (np.arange(48) + 0.5 - camera.cy) / camera.fy
    # Points with z = 2 + P_y: the normal (0, 1, -1) / sqrt(2), at 45 degrees to the line of sight.
    depth = torch.from_numpy(np.tile(2 / (1 - v)[:, None], (1, 64))).float()[None, None]
    normals = torch.tensor([0.0, 0.0, -1.0]).reshape(1, 3, 1, 1).expand(1, 3, 48, 64)
    targets = {"semseg": torch.zeros(1, 48, 64, dtype=torch.long), "depth": depth, "normals": normals}
    predictions = {"semseg": torch.zeros(1, 2, 48, 64), "depth": depth, "normals": normals}
    meter = CoherenceMeter(0.02, nyu_camera, None)
    assert coherence_metrics(meter.update(predictions, targets))["depth_normals_angle"] == pytest.approx(45, abs=0.5)
    broken = predictions | {"depth": torch.full_like(depth, torch.nan)}
    assert coherence_metrics(meter.update(broken, targets))["depth_normals_angle"] == 180, "depth that is no number"


def test_a_border_of_void_is_no_discontinuity_of_the_truth():
    labels = torch.zeros(1, 48, 64, dtype=torch.long)
    labels[:, :, 32:] = 1
    depth = torch.where(labels == 1, 2.0, 1.0)[:, None]
    normals = torch.tensor([0.0, 0.0, -1.0]).reshape(1, 3, 1, 1).repeat(1, 1, 48, 64)
    normals[..., 32:] = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    targets = {"semseg": labels, "depth": depth, "normals": normals}
    meter = CoherenceMeter(0.02, nyu_camera, None)
    whole = coherence_metrics(meter.ceiling(targets))
    assert whole["depth_boundary_f"] > 0.95 and whole["normals_boundary_f"] > 0.95
    for name in ("depth", "normals"):
        targets[name] = targets[name].clone()
        targets[name][..., 10:20, 5:15] = VOID
    holed = coherence_metrics(meter.ceiling(targets))
    assert holed["depth_boundary_f"] == whole["depth_boundary_f"]
    assert holed["normals_boundary_f"] == whole["normals_boundary_f"]


def test_the_ceiling_is_computed_once_and_again_where_anything_changed(tiny_project, monkeypatch):
    config = tiny_project.resolve("rooms", "mtcp", 0)
    split = open_split(config, tiny_project.root / "data/rooms", "test")
    meter, seen = coherence_meter(config, split.layout.packaging), []
    kept = ceiling_file(split, config, meter)
    first = ceiling(kept, split, config, meter, seen.append)
    assert sum(seen) == len(split)
    again = ceiling(kept, split, config, meter, seen.append)
    assert sum(seen) == len(split) and first.keys() == again.keys()
    assert all(np.array_equal(first[name], again[name]) for name in first)
    stricter = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"edge_tolerance": 0.001})})
    assert ceiling_file(split, stricter, meter) != kept
    kept.write_bytes(kept.read_bytes()[:100])
    assert all(
        np.array_equal(first[name], values) for name, values in ceiling(kept, split, config, meter, seen.append).items()
    )
    assert sum(seen) == 2 * len(split), "a damaged file is made again"
    with kept.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **{name: values * 0 for name, values in first.items()})
    edited = ceiling(kept, split, config, meter, seen.append)
    assert all(np.array_equal(first[name], values) for name, values in edited.items())
    assert sum(seen) == 3 * len(split), "and so is one that was edited"


def test_the_file_of_the_ceiling_is_another_for_another_class_of_people_or_a_disparity(tiny_project):
    config = tiny_project.resolve("rooms", "mtcp", 0)
    split = open_split(config, tiny_project.root / "data/rooms", "test")
    meter = coherence_meter(config, split.layout.packaging)
    others = meter, replace(meter, person=3), replace(meter, distances=False)
    assert len({ceiling_file(split, config, each) for each in others}) == 3


def test_no_plane_is_fitted_to_a_disparity(tiny_project):
    config = tiny_project.resolve("rooms", "mtcp", 0)
    split = open_split(config, tiny_project.root / "data/rooms", "test")
    targets = next(evaluation_batches(split, config)).targets
    disparity = config.model_copy(update={"tasks": {**config.tasks, "depth": TaskConfig(unit="px", rope=0.1)}})
    meters = [coherence_meter(each, split.layout.packaging) for each in (config, disparity)]
    metric, relative = (set(coherence_metrics(meter.ceiling(targets))) for meter in meters)
    assert metric - relative == {"depth_normals_angle", "depth_normals_angle_near"}
    assert "depth_boundary_f" in relative


def test_void_pixels_do_not_count(tiny_project):
    config = tiny_project.resolve("rooms", "mtcp", 0)
    split = open_split(config, tiny_project.root / "data/rooms", "test")
    batch = next(evaluation_batches(split, config))
    channels = {task.name: task.channels for task in config.task_list}
    for target in batch.targets.values():
        target[..., :20] = VOID
    predictions = as_predictions(batch.targets, channels)
    meter = coherence_meter(config, split.layout.packaging)
    before = meter.update(predictions, batch.targets)
    predictions["semseg"][..., :20] = torch.rand_like(predictions["semseg"][..., :20])
    predictions["normals"][..., :20] = 7
    predictions["edge"][..., :20] = 7
    after = meter.update(predictions, batch.targets)
    assert all((before[name] == after[name]).all() for name in before)


def test_people_are_judged_where_there_are_parts():
    labels = torch.tensor([[[1, 1, 0, 0]]])
    targets = {
        "semseg": labels, "human_parts": torch.tensor([[[3, 0, 0, 0]]]), "sal": torch.tensor([[[[1.0, 1, 0, 0]]]]),
    }  # fmt: skip
    predictions = as_predictions(targets, {"semseg": 2, "human_parts": 7})
    predictions["human_parts"] = one_hot(torch.tensor([[[3, 0, 2, 0]]]), 7).movedim(-1, 1).float()
    meter = CoherenceMeter(0.1, nyu_camera, person=1)
    assert coherence_metrics(meter.update(predictions, targets)) == {
        "parts_outside_person": 50, "person_without_parts": 50, "person_not_salient": 0,
    }  # fmt: skip
    assert coherence_metrics(meter.ceiling(targets))["person_without_parts"] == 50


def test_tasks_that_do_not_pair_up_give_nothing():
    targets = {"depth": torch.ones(1, 1, 4, 4)}
    assert CoherenceMeter(0.1, nyu_camera, None).update({"depth": torch.ones(1, 1, 4, 4)}, targets) == {}


def test_tasks_under_names_of_their_own_take_no_part():
    meter = CoherenceMeter(0.1, nyu_camera, None)
    labels, depth = torch.randint(2, (1, 8, 8)), torch.rand(1, 1, 8, 8) + 1
    targets = {"semseg": labels, "depth": depth}
    before = meter.update(as_predictions(targets, {"semseg": 2}), targets)
    further = {"range": depth.flip(-1), "trees": labels.flip(-1), "regression": -depth}
    guesses = as_predictions(targets, {"semseg": 2}) | {"range": depth, "trees": torch.randn(1, 3, 8, 8)}
    after = meter.update(guesses | {"regression": depth}, targets | further)
    assert after.keys() == before.keys() and all(np.array_equal(after[name], before[name]) for name in before)
    ceilings = meter.ceiling(targets), meter.ceiling(targets | further)
    assert all(np.array_equal(*(each[name] for each in ceilings)) for name in before)
    assert meter.update({"range": depth}, {"range": depth}) == {}
