"""Whether maps belong together: the statistics of one image by hand."""

import numpy as np
import pytest

from mtcp.core.tasks import VOID
from mtcp.data.preparation.pairing import axes, contrast, depth_steps, fit_to_depth, fit_to_image, normals_products


def test_contrast_is_the_larger_step_to_the_left_or_from_above() -> None:
    image = np.repeat(np.array([[0, 1], [3, 7]], np.uint8)[..., None], 3, axis=2)
    assert contrast(image).tolist() == [[0, 3], [9, 18]]


def test_depth_steps_are_of_more_than_eight_per_cent_between_known_pixels() -> None:
    depth = np.array([[1.0, 1.07, 2.0], [1.0, VOID, 2.1]], np.float32)
    assert depth_steps(depth).tolist() == [[False, False, True], [False, False, False]]


def test_contrast_under_lines_is_relative_to_that_of_the_image_inside_its_margin() -> None:
    lines = np.zeros((32, 32), bool)
    lines[:, 5] = True
    steps = 2 * lines.astype(np.int16)
    steps[0] = 900  # a white frame
    # 28 of 32 columns are inside the margin; mirrored, the line lies where there is no step.
    assert fit_to_image(steps, lines).tolist() == pytest.approx([28, 0, 28, 0, 1])
    assert not fit_to_image(steps, np.zeros_like(lines)).any()
    assert not fit_to_image(np.zeros_like(steps), lines).any()


def test_the_share_of_depth_steps_on_label_boundaries() -> None:
    lines = np.zeros((4, 6), bool)
    lines[0, 1] = True
    steps = np.zeros((4, 6), bool)
    steps[0, 1] = steps[0, 4] = steps[3, 1] = steps[2, 2] = True
    assert fit_to_depth(lines, steps).tolist() == [0.25, 0.25, 0.25, 0, 1]
    assert not fit_to_depth(lines, np.zeros_like(steps)).any()


def test_channels_that_are_stored_in_another_order_and_with_other_signs_are_found() -> None:
    normals = np.random.default_rng(0).normal(size=(5, 6, 3)).astype(np.float32)
    stored = np.stack([normals[..., 2], -normals[..., 0], normals[..., 1]], axis=-1)
    stored[0, 0] = VOID
    unchanged, mirrored = normals_products(stored, normals)
    known = np.argwhere(stored[..., 0] != VOID)
    expected = sum(np.outer(stored[r, c], normals[r, c].astype(float)) for r, c in known) / 29
    np.testing.assert_allclose(unchanged, expected, rtol=1e-5, atol=1e-6)
    assert axes(unchanged) == ((1, 2, 0), (-1, 1, 1))
    turned = normals[:, ::-1] * np.array([-1, 1, 1])
    expected = sum(np.outer(stored[r, c], turned[r, c].astype(float)) for r, c in known) / 29
    np.testing.assert_allclose(mirrored, expected, rtol=1e-5, atol=1e-6)
