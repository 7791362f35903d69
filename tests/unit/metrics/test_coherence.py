"""Coherence between predictions: hand-computed maps, symmetries, merging."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mtcp.metrics.coherence import (
    COHERENCE_METRICS,
    boundaries,
    coherence_metrics,
    depth_contrast,
    geometry,
    normals_contrast,
    people,
)
from mtcp.metrics.meter import merge, select

ALL = np.ones((1, 2), dtype=bool)
VECTORS = arrays(float, (3, 4, 3), elements=st.integers(-4, 4).map(float))


def as_image(counts):
    return {name: np.asarray(value)[None] for name, value in counts.items()}


def test_geometry_by_hand():
    normals = np.array([[[0, 0, -1.0], [0, 0, -2.0]]])
    of_depth = np.array([[[0, 0, -1.0], [0, -1.0, -1.0]]])
    counts = geometry(normals, of_depth, ALL, near=np.array([[False, True]]))
    assert counts == {"angle": pytest.approx(45), "pixels": 2, "angle_near": pytest.approx(45), "pixels_near": 1}
    found = coherence_metrics(as_image(counts))
    assert found == {"depth_normals_angle": pytest.approx(22.5), "depth_normals_angle_near": pytest.approx(45)}


def test_a_vector_without_direction_is_90_degrees_off_and_a_broken_one_180():
    normals = np.array([[[0, 0, -1.0], [np.nan, 0, 0]]])
    counts = geometry(normals, np.array([[[0, 0, 0.0], [0, 0, -1.0]]]), ALL, ALL)
    assert counts["angle"] == pytest.approx(90 + 180)


def test_pixels_that_are_not_valid_do_not_count():
    normals = np.array([[[0, 0, -1.0], [0, 0, -1.0]]])
    counts = geometry(normals, -normals, np.array([[True, False]]), ALL)
    assert (counts["pixels"], counts["angle"]) == (1, pytest.approx(180))
    nothing = coherence_metrics(as_image(geometry(normals, normals, ~ALL, ALL)))
    assert np.isnan(list(nothing.values())).all()


@settings(max_examples=50, deadline=None)
@given(VECTORS, VECTORS)
def test_geometry_is_symmetric_and_ignores_length_and_a_common_turn(a, b):
    every = np.ones((3, 4), dtype=bool)
    angle = geometry(a, b, every, every)["angle"]
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    for other in (
        geometry(b, a, every, every),
        geometry(3 * a, b, every, every),
        geometry(a @ turn, b @ turn, every, every),
    ):
        assert other["angle"] == pytest.approx(angle, abs=1e-5)


def test_depth_contrast_by_hand():
    step = np.tile([1.0, 1, 3, 3], (3, 1))
    assert depth_contrast(step) == pytest.approx(np.tile(np.sqrt([0, 0.5, 0.5, 0]), (3, 1)))
    assert depth_contrast(step.T) == pytest.approx(depth_contrast(step).T)
    assert depth_contrast(2.5 * step) == pytest.approx(depth_contrast(step))


def test_normals_contrast_by_hand():
    crease = np.tile(np.array([[0, 0, -1.0]] * 2 + [[1.0, 0, 0]] * 2), (3, 1, 1))
    expected = np.sqrt(np.sin(np.radians(45)))
    assert normals_contrast(crease) == pytest.approx(np.tile([0, expected, expected, 0], (3, 1)))
    opposite = np.array([[[0, 0, -1.0]], [[0, 0, 1.0]]])
    assert normals_contrast(opposite) == pytest.approx(1)


def line(height, column):
    found = np.zeros((24, 24), dtype=bool)
    found[:height, column] = True
    return found


@pytest.mark.parametrize(
    ("strength", "f"),
    [(line(24, 10), 1), (line(24, 11), 1), (line(24, 14), 0), (line(12, 10), 2 * 0.5 / 1.5), (line(24, 10) * 0, 0)],
    ids=["on it", "within the tolerance", "beyond it", "half of it", "nothing"],
)
def test_boundaries_agree_within_the_tolerance_one_to_one(strength, f):
    tolerance = 1.5 / np.hypot(24, 24)
    counts = boundaries({"depth": 0.4 * strength}, line(24, 10), tolerance)
    assert coherence_metrics(as_image(counts))["depth_boundary_f"] == pytest.approx(f, abs=0.02)


def test_strengths_are_cut_at_24_thresholds_from_4_to_96_hundredths():
    counts = boundaries({"edge": np.float32(0.04) * line(24, 10)}, line(24, 10), 0.02)
    assert counts["edge_predicted"].tolist() == [24] + [0] * 23
    counts = boundaries({"edge": 0.95 * line(24, 10)}, line(24, 10), 0.02)
    assert counts["edge_predicted"].tolist() == [24] * 23 + [0]


def test_of_all_measures_only_agreement_of_boundaries_is_better_where_it_is_higher():
    better_high = {name for name, higher in COHERENCE_METRICS.items() if higher}
    assert better_high == {"depth_boundary_f", "normals_boundary_f", "edge_boundary_f"}


def test_boundaries_of_two_parallel_lines_are_matched_once():
    both = np.maximum(line(24, 8), line(24, 12)).astype(float)
    counts = as_image(boundaries({"normals": both}, line(24, 10), 2.5 / np.hypot(24, 24)))
    # Every true pixel has two candidates and takes one: P = 1/2, R = 1.
    assert coherence_metrics(counts)["normals_boundary_f"] == pytest.approx(2 / 3, abs=0.02)


def test_people_by_hand():
    person = np.array([[1, 1, 1, 1, 1, 0, 0, 1]], dtype=bool)
    parts = np.array([[1, 1, 0, 0, 0, 1, 1, 1]], dtype=bool)
    salient = np.array([[1, 0, 0, 0, 0, 0, 0, 0]], dtype=bool)
    valid = np.array([[1, 1, 1, 1, 1, 1, 1, 0]], dtype=bool)
    counts = people(person, parts, salient, valid)
    assert counts == {"person": 5, "parts": 4, "parts_outside": 2, "person_bare": 3, "person_faint": 4}
    found = coherence_metrics(as_image(counts))
    assert found == pytest.approx({"parts_outside_person": 50, "person_without_parts": 60, "person_not_salient": 80})


def test_images_without_people_have_no_share():
    nobody = np.zeros((1, 3), dtype=bool)
    found = coherence_metrics(as_image(people(nobody, nobody, None, ~nobody)))
    assert set(found) == {"parts_outside_person", "person_without_parts"}
    assert np.isnan(list(found.values())).all()


def test_statistics_merge_and_any_subset_is_scored_alone():
    random = np.random.default_rng(0)
    images = []
    for _ in range(3):
        normals, of_depth = random.normal(size=(2, 24, 24, 3))
        every = np.ones((24, 24), dtype=bool)
        counts = geometry(normals, of_depth, every, random.random((24, 24)) > 0.5)
        counts |= boundaries({"edge": random.random((24, 24))}, line(24, 5), 0.05)
        images.append(as_image(counts))
    together = merge(images)
    assert coherence_metrics(select(together, np.array([1]))) == coherence_metrics(images[1])
    angles, pixels = (sum(image[name][0] for image in images) for name in ("angle", "pixels"))
    assert coherence_metrics(together)["depth_normals_angle"] == pytest.approx(angles / pixels)
    assert coherence_metrics(merge(reversed(images))) == pytest.approx(coherence_metrics(together))
