"""Coherence as evaluation measures it: the truth as its own prediction, void pixels, cameras, people."""

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from mtcp.core.tasks import CLASSES, VOID
from mtcp.data.loading.batches import evaluation_batches, open_split
from mtcp.data.preparation.derive import nyu_camera
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
    found = coherence_meter(config, split.layout.packaging).update(
        as_predictions(batch.targets, channels), batch.targets
    )
    own, ceiling = (coherence_metrics(found[output]) for output in ("final", "truth"))
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
    found = CoherenceMeter(0.02, nyu_camera, None).update(predictions, targets)
    assert coherence_metrics(found["final"])["depth_normals_angle"] == pytest.approx(45, abs=0.5)


def test_only_what_is_asked_for_is_measured(tiny_project):
    config = tiny_project.resolve("rooms", "mtcp", 0)
    split = open_split(config, tiny_project.root / "data/rooms", "test")
    batch = next(evaluation_batches(split, config))
    predictions = as_predictions(batch.targets, {task.name: task.channels for task in config.task_list})
    judged = []

    def counting(work, *images):
        judged.append(len(images[0]))
        return map(work, *images)

    meter = coherence_meter(config, split.layout.packaging, counting)
    assert set(meter.update(predictions, batch.targets, lambda name: name == "final")) == {"final"}
    assert judged == [len(batch.ids)], "boundaries of the truth are not matched in vain"


def test_void_pixels_do_not_count(tiny_project):
    config = tiny_project.resolve("rooms", "mtcp", 0)
    split = open_split(config, tiny_project.root / "data/rooms", "test")
    batch = next(evaluation_batches(split, config))
    channels = {task.name: task.channels for task in config.task_list}
    for target in batch.targets.values():
        target[..., :20] = VOID
    predictions = as_predictions(batch.targets, channels)
    meter = coherence_meter(config, split.layout.packaging)
    before = meter.update(predictions, batch.targets)["final"]
    predictions["semseg"][..., :20] = torch.rand_like(predictions["semseg"][..., :20])
    predictions["normals"][..., :20] = 7
    predictions["edge"][..., :20] = 7
    after = meter.update(predictions, batch.targets)["final"]
    assert all((before[name] == after[name]).all() for name in before)


def test_people_are_judged_where_there_are_parts():
    labels = torch.tensor([[[1, 1, 0, 0]]])
    targets = {
        "semseg": labels, "human_parts": torch.tensor([[[3, 0, 0, 0]]]), "sal": torch.tensor([[[[1.0, 1, 0, 0]]]]),
    }  # fmt: skip
    predictions = as_predictions(targets, {"semseg": 2, "human_parts": 7})
    predictions["human_parts"] = one_hot(torch.tensor([[[3, 0, 2, 0]]]), 7).movedim(-1, 1).float()
    found = CoherenceMeter(0.1, nyu_camera, person=1).update(predictions, targets)
    assert coherence_metrics(found["final"]) == {
        "parts_outside_person": 50, "person_without_parts": 50, "person_not_salient": 0,
    }  # fmt: skip
    assert coherence_metrics(found["truth"])["person_without_parts"] == 50


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
    assert after.keys() == before.keys() == {"final", "truth"}
    for output in after:
        assert all(np.array_equal(after[output][name], before[output][name]) for name in before[output])
    assert meter.update({"range": depth}, {"range": depth}) == {}
