"""Cameras of parts of NYU's frames at any size, and the one that a set records."""

from dataclasses import asdict

import numpy as np
import pytest

from mtcp.data.formats.cameras import CROPPED, PACKAGED, Camera, camera_of, nyu_camera


def rays(camera: Camera, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Directions (N, 2) of pixel coordinates, in units of the focal length."""
    return np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy], axis=-1)


def test_nyus_intrinsics_scale_with_the_size():
    half = nyu_camera(240, 320)
    assert half.fx == pytest.approx(518.8579 / 2)
    assert half.cy == pytest.approx(253.7362 / 2)


def test_a_cropped_frame_sees_what_the_whole_one_sees_there():
    rows, columns = np.array([0.5, 100.5, 424.5]), np.array([0.5, 300.5, 559.5])
    whole, cropped = nyu_camera(480, 640), nyu_camera(425, 560, CROPPED)
    np.testing.assert_allclose(rays(cropped, rows, columns), rays(whole, rows + 45, columns + 40), atol=1e-12)
    assert cropped.fx == pytest.approx(whole.fx)
    # Rows 26 to 232 and columns 22 to 297 of 240x320, enlarged to 288x384.
    small, package = nyu_camera(240, 320), nyu_camera(288, 384, PACKAGED)
    seen = rays(package, rows * 0.6, columns * 0.6)
    np.testing.assert_allclose(
        seen, rays(small, rows * 0.6 * 207 / 288 + 26, columns * 0.6 * 276 / 384 + 22), atol=1e-12
    )


@pytest.mark.parametrize(
    ("layout", "packaging", "expected"),
    [
        ("nyud", {"size": [240, 320]}, nyu_camera(64, 96)),
        ("nyud", {"size": None}, nyu_camera(64, 96)),
        ("nyud", {}, nyu_camera(64, 96)),
        ("nyud", {"size": [425, 560]}, nyu_camera(425, 560, CROPPED).scaled(64 / 425, 96 / 560)),
        ("mtan_nyuv2", {"size": [288, 384]}, nyu_camera(64, 96, PACKAGED)),
        ("own", {"size": None, "camera": {"fx": 10, "fy": 11, "cx": 24, "cy": 16}}, nyu_camera(64, 96)),
        ("own", {"camera": {"fx": 10, "fy": 11, "cx": 24, "cy": 16}}, Camera(10, 11, 24, 16)),
        ("own", {"size": [32, 48], "camera": {"fx": 10, "fy": 11, "cx": 24, "cy": 16}}, Camera(20, 22, 48, 32)),
    ],
)
def test_a_sets_camera_is_the_recorded_one_or_nyus_for_the_part_it_shows(layout, packaging, expected):
    found = camera_of(layout, packaging, 64, 96)
    assert asdict(found) == pytest.approx(asdict(expected))


def test_frames_of_unknown_size_are_judged_at_their_own():
    assert camera_of("nyud", {}, 425, 560) == nyu_camera(425, 560, CROPPED)
